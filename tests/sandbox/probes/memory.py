"""Memory bomb: prints how many MiB could be held before the limit."""

held = []
try:
    while True:
        held.append(bytearray(8 << 20))
except MemoryError:
    print(8 * len(held))
