"""Fills /tmp: prints why the first file stopped growing, then how many bytes fitted in all and why no more did."""

import errno
import os

block = b"x" * (1 << 20)


def fill(path):
    file = os.open(path, os.O_CREAT | os.O_WRONLY)
    size = 0
    try:
        while True:
            size += os.write(file, block)
    except OSError as error:
        return size, errno.errorcode[error.errno]
    finally:
        os.close(file)


size, why = fill("/tmp/0")
print(size, why)
total, number = size, 0
while why != "ENOSPC" and number < 100:
    number += 1
    size, why = fill(f"/tmp/{number}")
    total += size
print(total, why)
