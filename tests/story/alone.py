"""Run a command as the adoptive parent of all its descendants, and write down those that outlive it.

python -I -S alone.py SECONDS LEFT_FILE COMMAND...
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36  # prctl(2): whoever loses its parent below this process becomes its child


def children() -> dict[int, str]:
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (path / "stat").read_bytes().decode(errors="replace").rpartition(")")[2].split()[:2]
            command = (path / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
        if int(parent) == os.getpid() and state != "Z":
            found[int(path.name)] = command
    return found


ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
code = subprocess.call(sys.argv[3:])
deadline = time.monotonic() + float(sys.argv[1])  # the kernel ends a killed sandbox's processes in its own time
while children() and time.monotonic() < deadline:
    time.sleep(0.02)
left = children()
Path(sys.argv[2]).write_text(json.dumps(sorted(left.values())))
for pid in left:
    os.kill(pid, signal.SIGKILL)
sys.exit(code if code >= 0 else 128 - code)
