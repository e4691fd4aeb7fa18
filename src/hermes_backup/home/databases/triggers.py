"""What a trigger does, where it is understood: which table it minds, when, and which statements it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermes_backup.home.databases.sql_text import Token, divided, enclosed, folded, tokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STEADY = frozenset((
    "abs", "cast", "char", "coalesce", "concat", "concat_ws", "count", "format", "hex", "ifnull", "iif", "instr",
    "json", "json_array", "json_extract", "json_object", "json_type", "json_valid", "length", "lower", "ltrim", "max",
    "min", "nullif", "octet_length", "printf", "quote", "replace", "round", "rtrim", "substr", "substring", "sum",
    "total", "trim", "typeof", "unicode", "upper",
))  # fmt: skip
"""Functions that give the same for the same values, and do nothing else."""
_BEFORE_PARENTHESIS = frozenset((
    "and", "as", "between", "by", "case", "distinct", "else", "escape", "except", "exists", "from", "glob", "having",
    "in", "intersect", "is", "like", "not", "null", "on", "or", "select", "then", "union", "values", "when", "where",
))  # fmt: skip


@dataclass(frozen=True)
class Trigger:
    """A trigger of one table; ``when`` and the statements as tokens of ``sql``."""

    name: str
    table: str
    sql: str
    timing: str
    event: str
    when: tuple[Token, ...]
    statements: tuple[tuple[Token, ...], ...]

    def writes_only(self, table: str) -> bool:
        """Tell whether all that it does is to change this table."""
        return all(_changes(it, table) for it in self.statements)


@dataclass(frozen=True)
class Insertion:
    """What a trigger inserts for each row of its table: SQL over a row that is called ``row``.

    Attributes:
        rowid: the column of its table that gives the row id.
        values: an expression for each column that is given.
        condition: which rows it is done for; empty for all.
    """

    source: str
    rowid: str
    values: Mapping[str, str]
    condition: str


def read_trigger(name: str, table: str, sql: str) -> Trigger | None:
    """Read a trigger; None where it is not understood."""
    match tokens(sql):
        case (create, trigger, _, *rest, end) if create.is_word("CREATE") and trigger.is_word("TRIGGER"):
            begin = next((number for number, it in enumerate(rest) if it.is_word("BEGIN")), None)
            if begin is None or not end.is_word("END"):
                return None
            return _read(name, table, sql, rest[:begin], rest[begin + 1 :])
    return None


def _read(name: str, table: str, sql: str, head: Sequence[Token], body: Sequence[Token]) -> Trigger | None:
    timing = "BEFORE"
    if head and head[0].is_word("BEFORE", "AFTER", "INSTEAD"):
        timing, head = head[0].text.upper(), head[1:]
    if timing == "INSTEAD" or not head or not head[0].is_word("INSERT", "DELETE", "UPDATE"):
        return None
    when = next((number for number, it in enumerate(head) if it.is_word("WHEN")), len(head))
    statements = tuple(it for it in divided(body, ";") if it)
    return Trigger(name, table, sql, timing, head[0].text.upper(), tuple(head[when + 1 :]), statements)


def insertion(trigger: Trigger, into: str, alias: str) -> Insertion | None:
    """Return what a trigger inserts into a table, its row called ``alias``; None where that is not understood."""
    if (trigger.timing, trigger.event, len(trigger.statements)) != ("AFTER", "INSERT", 1):
        return None
    given = _given(trigger.statements[0], into)
    row_id = _row_id(given.pop("rowid", ()))
    values = {name: _over(trigger.sql, value, alias) for name, value in given.items()}
    condition = _over(trigger.sql, trigger.when, alias) if trigger.when else ""
    known = {name: value for name, value in values.items() if value is not None}
    if row_id is None or condition is None or len(known) < len(values):
        return None
    return Insertion(trigger.table, row_id, known, condition)


def _given(statement: Sequence[Token], into: str) -> dict[str, tuple[Token, ...]]:
    """Return what a statement inserts, by column; nothing where it is not understood."""
    match statement:
        case (insert, into_word, table, *rest) if insert.is_word("INSERT") and into_word.is_word("INTO"):
            columns, after = enclosed(rest) or ((), ())
            values, end = enclosed(after[1:]) or ((), ())
            if not table.is_name(into) or not after or not after[0].is_word("VALUES") or end:
                return {}
            names = [folded(it[0].name) for it in divided(columns, ",") if len(it) == 1]
            expressions = divided(values, ",")
            if len(names) == len(expressions) == len(set(names)) == len(divided(columns, ",")):
                return dict(zip(names, expressions, strict=True))
    return {}


def _changes(statement: Sequence[Token], table: str) -> bool:
    """Tell whether a statement inserts into a table or deletes from it."""
    match statement:
        case (insert, into, name, *_) if insert.is_word("INSERT", "REPLACE") and into.is_word("INTO"):
            return name.is_name(table)
        case (insert, either, _, into, name, *_) if insert.is_word("INSERT") and either.is_word("OR"):
            return into.is_word("INTO") and name.is_name(table)
        case (delete, from_, name, *_) if delete.is_word("DELETE") and from_.is_word("FROM"):
            return name.is_name(table)
    return False


def _row_id(value: Sequence[Token]) -> str | None:
    match value:
        case (new, Token(text="."), name) if new.is_word("NEW"):
            return name.name
    return None


def _over(sql: str, expression: Sequence[Token], alias: str) -> str | None:
    """Write an expression over ``new`` as one over a row called ``alias``; None where it may mean something else."""
    if not expression or not _is_steady(expression):
        return None
    text, at = "", expression[0].start
    for number, it in enumerate(expression):
        if it.is_word("NEW") and not _after(expression, number, "."):
            if not _before(expression, number, "."):
                return None
            text += sql[at : it.start] + alias
            at = it.end
    return text + sql[at : expression[-1].end]


def _is_steady(expression: Sequence[Token]) -> bool:
    """Tell whether it gives the same for the same rows, and means the same in a query as in a trigger."""
    for number, it in enumerate(expression):
        if it.kind == "quoted" and not _after(expression, number, "."):
            return False  # a text to a trigger, perhaps, and a column to a query
        if it.is_word("OLD", "CURRENT_TIME", "CURRENT_DATE", "CURRENT_TIMESTAMP", "RAISE", "LIMIT", "OVER"):
            return False
        called = it.kind == "word" and _before(expression, number, "(") and it.text.lower() not in _BEFORE_PARENTHESIS
        if called and it.text.lower() not in STEADY:
            return False
    return True


def _after(some: Sequence[Token], number: int, sign: str) -> bool:
    return number > 0 and some[number - 1].text == sign


def _before(some: Sequence[Token], number: int, sign: str) -> bool:
    return number + 1 < len(some) and some[number + 1].text == sign
