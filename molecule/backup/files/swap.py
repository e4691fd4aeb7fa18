#!/usr/bin/python3
"""Exchange two entries of the working folder as quickly as possible, for so many seconds."""

import ctypes
import os
import sys
import time

one, other, seconds = os.fsencode(sys.argv[1]), os.fsencode(sys.argv[2]), float(sys.argv[3])
libc = ctypes.CDLL(None, use_errno=True)
swaps = 0
end = time.monotonic() + seconds
while time.monotonic() < end:
    if libc.renameat2(-100, one, -100, other, 2) != 0:  # RENAME_EXCHANGE
        sys.exit(os.strerror(ctypes.get_errno()))
    swaps += 1
if swaps % 2:
    libc.renameat2(-100, one, -100, other, 2)
print(swaps)
