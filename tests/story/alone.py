"""Run a command as the adoptive parent of all its descendants, and write down those that outlive it.

python -I -S alone.py LEFT_FILE COMMAND...
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36  # prctl(2): whoever loses its parent below this process becomes its child


def children() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    state, parent = file.read().rpartition(")")[2].split()[:2]
                with open(f"/proc/{name}/cmdline") as file:
                    command = file.read().replace("\0", " ")
            except OSError:
                continue
            if int(parent) == os.getpid() and state != "Z":
                found[int(name)] = command
    return found


ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
code = subprocess.call(sys.argv[2:])
deadline = time.monotonic() + 1.0  # the kernel ends a killed sandbox's processes in its own time
while children() and time.monotonic() < deadline:
    time.sleep(0.02)
left = children()
with open(sys.argv[1], "w") as file:
    json.dump(sorted(left.values()), file)
for pid in left:
    os.kill(pid, signal.SIGKILL)
sys.exit(code if code >= 0 else 128 - code)
