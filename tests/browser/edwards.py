"""Just enough of edwards25519 (RFC 8032, 5.1) to make signatures that no honest signer would make. Slow, not secret: for tests."""

from __future__ import annotations

import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]
ZERO: Point = (0, 1)


def add(one: Point, two: Point) -> Point:
    (x1, y1), (x2, y2) = one, two
    t = D * x1 * x2 * y1 * y2 % P
    return (x1 * y2 + x2 * y1) * pow(1 + t, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - t, -1, P) % P


def times(factor: int, point: Point) -> Point:
    total = ZERO
    while factor:
        if factor & 1:
            total = add(total, point)
        point, factor = add(point, point), factor >> 1
    return total


def x_of(y: int) -> int | None:
    """The even x of a point with this y, if there is one."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    return (x if x % 2 == 0 else P - x) % P if x * x % P == square else None


def encode(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def base() -> Point:
    y = 4 * pow(5, -1, P) % P
    x = x_of(y)
    assert x is not None
    return x, y


BASE = base()


def torsion() -> Point:
    """A point of order eight: any point times L, until its order is the whole of the cofactor."""
    y = 2
    while True:
        x = x_of(y)
        if x is not None:
            point = times(L, (x, y))
            if times(4, point) != ZERO:
                return point
        y += 1


def small_order() -> list[Point]:
    return [times(factor, torsion()) for factor in range(8)]


def challenge(r: bytes, key: bytes, message: bytes) -> int:
    return int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % L


def signature(secret: int, nonce: int, message: bytes, *, key: bytes | None = None, r: bytes | None = None) -> tuple[bytes, bytes]:
    """Key and signature; `key` and `r` replace the encoded points that belong to secret and nonce."""
    key = encode(times(secret, BASE)) if key is None else key
    r = encode(times(nonce, BASE)) if r is None else r
    return key, r + ((nonce + challenge(r, key, message) * secret) % L).to_bytes(32, "little")
