"""Thread bomb: prints how many threads started before the limit."""

import threading

stop, started = threading.Event(), 0
try:
    for _ in range(3000):
        threading.Thread(target=stop.wait, daemon=True).start()
        started += 1
except RuntimeError:
    pass
print(started)
stop.set()
