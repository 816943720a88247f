"""How a process that runs for years gives memory back: hub and nodes hold large messages for a moment, in many threads.

glibc would keep what was freed in up to eight arenas per core, and take ever larger pieces from them once one was freed: 46 MB of a hub's
160 and 14 MB of a node's 97 after a study of 14 rounds. Elsewhere (musl, macOS) nothing changes.
"""

from __future__ import annotations

import ctypes
import sys

# malloc.h of glibc; naming a threshold also keeps it from moving
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_PIECE = 256 << 10


def give_back() -> None:
    """Two arenas, and pieces of 256 KiB or more straight from the kernel. Call it before threads start."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for what, size in ((_ARENA_MAX, 2), (_MMAP_THRESHOLD, _PIECE), (_TRIM_THRESHOLD, _PIECE)):
            mallopt(what, size)
