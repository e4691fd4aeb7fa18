"""The inventory that these tests share."""

from __future__ import annotations

from tests.fleet.ground import ground

__all__ = ["ground"]
