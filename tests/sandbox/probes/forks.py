"""Fork bomb: prints how many of 2,000 forks made a process."""

import os

made = 0
for _ in range(2000):
    try:
        made += 1
        os.fork()
    except PermissionError:
        made -= 1
print(made)
