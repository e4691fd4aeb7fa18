"""The inventory that these tests share."""

from __future__ import annotations

from tests.fleet.ground import ground
from tests.fleet.machine import machine

__all__ = ["ground", "machine"]
