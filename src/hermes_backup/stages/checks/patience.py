"""How long a database may be looked at: its host decides what it holds, and views of a hostile schema never end."""

from __future__ import annotations

_LEAST = 300.0  # seconds
_PER_BYTE = 3000.0 / (1 << 30)  # ten times what indexes take on a slow core: 300 s for 1 GB without them (measured)


def patience(size: int) -> float:
    """Return seconds for all that is done with databases of so many bytes together."""
    return _LEAST + _PER_BYTE * size
