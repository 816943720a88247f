"""Several messages in one body: a line of JSON that names senders and sizes, and behind it the bytes themselves.

The shares of a round can be some megabytes, which base64 in JSON would make a third larger and ten times as slow to read.
"""

from __future__ import annotations

from pumasi.kernel.envelope import canonical, parse_canonical
from pumasi.kernel.errors import Tampered


def packed(messages: dict[str, bytes]) -> bytes:
    """The messages by sender as one body; `unpacked` reads it."""
    return b"\n".join([canonical([[name, len(data)] for name, data in messages.items()]), b"".join(messages.values())])


def unpacked(body: bytes) -> dict[str, bytes]:
    """The messages by sender; `Tampered` unless the body is exactly what `packed` wrote."""
    head, mark, rest = body.partition(b"\n")
    found, at = {}, 0
    match parse_canonical(head):
        case [*entries]:
            for entry in entries:
                match entry:
                    case [str(name), int(size)] if size >= 0 and not isinstance(size, bool) and name not in found:
                        found[name] = rest[at : at + size]
                        at += size
                    case _:
                        raise Tampered("the hub's answer does not say whose messages it holds")
            if mark and at == len(rest):
                return found
    raise Tampered("the hub's answer holds other messages than it says")
