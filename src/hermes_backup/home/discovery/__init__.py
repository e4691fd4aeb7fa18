"""Where on a host Hermes homes are: read off users' folders, services and containers, by files alone.

No client of systemd, Docker or Podman is run, so that it works in a unit that may do nothing but read.
"""

from __future__ import annotations

from hermes_backup.home.discovery.discover import LOOKED_AT, FoundHome, discover

__all__ = ["LOOKED_AT", "FoundHome", "discover"]
