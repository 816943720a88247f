"""What a long-lived process keeps of a large message: nothing."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

HELD = """
import re, sys, threading
from pathlib import Path
from pumasi.store.memory import give_back

if sys.argv[1] == "yes":
    give_back()

def anonymous():
    return int(re.search(r"Anonymous:\\s+(\\d+)", Path("/proc/self/smaps_rollup").read_text())[1]) // 1024

def work():
    pieces = [bytearray(one) for one in (1 << 20, 3 << 20, 6 << 20, 12 << 20) for _ in range(3)]
    kept.append(bytearray(4096))  # behind them: what lies before it in an arena stays

kept, before = [], anonymous()
for _ in range(6):
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print(anonymous() - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another memory than that of glibc")
def test_a_process_gives_back_what_large_messages_took() -> None:
    held = {}
    for how in ("yes", "no"):
        told = subprocess.run([sys.executable, "-c", HELD, how], capture_output=True, check=True, text=True)
        held[how] = int(told.stdout)  # MiB
    assert held["yes"] < 8 < held["no"], held
