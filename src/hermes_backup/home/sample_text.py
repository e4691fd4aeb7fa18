"""What the sample home's agent and its owner talk about: plausible, varied, and the same each time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

_THINGS = (
    "the garden plan", "last month's invoices", "the trip to Lisbon", "the nightly build", "the sourdough starter",
    "the talk for the meetup", "the backup of the NAS", "the piano lessons", "the reading list", "the heating bill",
    "the release notes", "the router's firmware", "the photo archive", "the neighbours' barbecue", "the tax return",
    "the bicycle's chain", "the newsletter", "the weather station", "the wedding playlist", "the language course",
)  # fmt: skip
_WISHES = (
    "Can you look into {}?", "Please summarise {} in three sentences.", "What is still open about {}?",
    "Remind me on Friday about {}.", "Make a table of {}.", "Rewrite what we had on {}, but shorter.",
    "I changed my mind about {}; start over.", "How would you go about {}?", "Is there anything new on {}?",
)  # fmt: skip
_FINDINGS = (
    "I went through {} and found {} open points.", "For {} there are {} things that matter.",
    "Of the notes on {}, {} are older than a year, so I left them out.",
    "{} took longer than I thought; {} steps are done.", "I compared {} with last time: {} lines differ.",
    "There were {1} questions about {0} that only you can answer.",
)  # fmt: skip
_ADVICE = (
    "The first one can wait until you are back.", "I would start with the cheapest and see how far that carries.",
    "Nothing here is urgent, but the second gets harder the longer it waits.", "I put a short note into your memory.",
    "If you like, I can ask again next week.", "The numbers are from this morning, so they may have moved.",
    "Two sources disagree; I trust the one that shows its data.", "It fits into an hour if nobody calls.",
    "I kept the old version beside it, in case you want to compare.", "Measured, not guessed: it took 42 seconds.",
    "That is cheaper than I feared.", "Das hatten wir im Frühjahr schon einmal so gelöst.",
    "詳しくは明日またお知らせします。",
)  # fmt: skip
_ASIDES = (
    "No hurry.", "I only need the gist.", "You know how I like it.", "Use the notes from spring.", "Danke!",
    "I am on the train, so keep it short.", "Ask me if anything is unclear.", "Last time we forgot the totals.",
)  # fmt: skip
_TOOLS = ("terminal", "read_file", "web_search", "memory", "write_file")


@dataclass(frozen=True)
class Message:
    """One line of a conversation; ``tool`` names what gave it, when it was neither of the two."""

    role: str
    text: str
    tool: str | None = None


def title(seed: int) -> str:
    """Return what a conversation is called."""
    return f"{_THINGS[seed % len(_THINGS)].removeprefix('the ').capitalize()}, take {seed // len(_THINGS) + 1}"


def conversation(seed: int, length: int) -> Iterator[Message]:
    """Yield the messages of one conversation; the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - text, not secrets
    for index in range(length):
        thing = chance.choice((_THINGS[seed % len(_THINGS)], chance.choice(_THINGS)))
        if index % 2 == 0:
            yield Message("user", f"{chance.choice(_WISHES).format(thing)} {chance.choice(_ASIDES)}")
        elif chance.random() < 0.2:  # noqa: PLR2004 - every fifth answer is a tool's
            lines = (f"{chance.randrange(10**6):06d} {chance.choice(_THINGS)}" for _ in range(12))
            yield Message("tool", "\n".join(lines), chance.choice(_TOOLS))
        else:
            found = chance.choice(_FINDINGS).format(thing, chance.randint(2, 30))
            advice = chance.sample(_ADVICE, chance.randint(2, 6))
            yield Message("assistant", " ".join([found[0].upper() + found[1:], *advice]))
