"""No core dump of this program and its children: their memory holds passphrases, keys and remotes' credentials.

The soft limit becomes one byte, which children inherit. A file of so little is never begun, and where
``/proc/sys/kernel/core_pattern`` names a program, to which the kernel applies no limit, one byte is the limit at which
it does not start that program (fs/coredump.c); zero bytes would not keep it from that.
"""

from __future__ import annotations

import resource

_SOFT, _HARD = resource.getrlimit(resource.RLIMIT_CORE)


def forbid() -> None:
    """Let neither this process nor what it starts leave a core dump; the hard limit stays as it is."""
    resource.setrlimit(resource.RLIMIT_CORE, (min(1, _HARD) if _HARD != resource.RLIM_INFINITY else 1, _HARD))


def started_with() -> int:
    """Return the soft limit that this process was started with, in bytes, as ``resource`` writes it."""
    return _SOFT
