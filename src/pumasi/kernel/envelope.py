"""One way to write a document as bytes (RFC 8785), one way to sign it (Ed25519), one way to commit to it.

A signature is over `pumasi/<kind>/v1`, a newline, and the canonical body: a permit's signature can never pass for an event's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import secrets
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NoReturn

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from pumasi.kernel.errors import Tampered

Kind = Literal[
    "event", "permit", "job", "handshake", "request", "certificate", "share-certificate", "key-rotation", "handover", "log-key-rotation"
]


def canonical(value: Any) -> bytes:
    """The RFC 8785 bytes of a JSON value; integers beyond 2^53, NaN and infinities raise `ValueError`."""
    return rfc8785.dumps(value)


def parse_canonical(data: bytes) -> Any:
    """The JSON value of `data`; `Tampered` unless these are exactly its canonical bytes (so one document has one digest)."""
    try:
        value, written = _plain(data)
        if written != data:
            raise Tampered("the document is not in canonical form (RFC 8785)")
    except (ValueError, rfc8785.CanonicalizationError, RecursionError) as error:
        raise Tampered("the document is not valid JSON in canonical form (RFC 8785)") from error
    return value


def _plain(data: bytes) -> tuple[Any, bytes]:
    """A JSON value and its canonical bytes.

    Without floats, numbers beyond 2^53 and letters beyond U+FFFF (which UTF-16 sorts before others) the standard library writes as
    RFC 8785 does, ten times faster than its implementation in Python, which does the rest.
    """
    try:
        if not _BEYOND.search(data):
            value = _READ_PLAIN.decode(data.decode())
            return value, _WRITE_PLAIN.encode(value).encode()
    except _Unusual:
        pass
    value = json.loads(data, parse_int=_integer, parse_constant=_no_constants)
    return value, rfc8785.dumps(value)


class _Unusual(Exception):
    """A number that JSON may write in several ways."""


def _whole(digits: str) -> int:
    value = int(digits)
    if abs(value) >= 2**53:
        raise _Unusual
    return value


def _unusual(digits: str) -> NoReturn:
    raise _Unusual


def _integer(digits: str) -> int | float:
    """RFC 8785 writes doubles below 10^21 without an exponent: what an integer could not hold exactly was a double."""
    value = int(digits)
    return value if abs(value) < 2**53 else float(digits)


def _no_constants(name: str) -> NoReturn:
    raise ValueError(name)


_BEYOND = re.compile(b"[\xf0-\xf7]")  # in UTF-8 only letters beyond U+FFFF begin so
_READ_PLAIN = json.JSONDecoder(parse_int=_whole, parse_float=_unusual, parse_constant=_no_constants)
_WRITE_PLAIN = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def sha256(data: bytes) -> str:
    """Lower-case hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def unb64(text: str, size: int | None = None) -> bytes:
    """Strict base64; `Tampered` for anything another encoder would have written differently, or of another size."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Tampered("a value is not base64") from error
    if b64(data) != text or (size is not None and len(data) != size):
        raise Tampered("a base64 value has the wrong form or length")
    return data


@dataclass(frozen=True)
class Keys:
    """What a party holds in secret: `signing` (Ed25519) speaks for it, `box` (X25519) opens what is sealed to it."""

    signing: Ed25519PrivateKey
    box: X25519PrivateKey

    @classmethod
    def new(cls) -> Keys:
        return cls(Ed25519PrivateKey.generate(), X25519PrivateKey.generate())

    @classmethod
    def from_text(cls, text: str) -> Keys:
        """Read what `to_text` wrote; `Tampered` when it is not two keys."""
        lines = text.split()
        if len(lines) != 2:
            raise Tampered("a key file holds two base64 lines: the signing key and the box key")
        return cls(Ed25519PrivateKey.from_private_bytes(unb64(lines[0], 32)), X25519PrivateKey.from_private_bytes(unb64(lines[1], 32)))

    def to_text(self) -> str:
        return f"{b64(self.signing.private_bytes_raw())}\n{b64(self.box.private_bytes_raw())}\n"

    @property
    def public(self) -> str:
        return b64(self.signing.public_key().public_bytes_raw())

    @property
    def box_public(self) -> str:
        return b64(self.box.public_key().public_bytes_raw())


def fingerprint(public: str) -> str:
    """A public key as people compare it: the first 16 hexadecimal digits of its SHA-256, in groups of four."""
    digits = sha256(unb64(public, 32))[:16]
    return "-".join(digits[i : i + 4] for i in range(0, 16, 4))


# The points of small order on edwards25519, by y, with the encodings at and above the field's prime: signatures under them need no
# secret, and RFC 8032 5.1.7 lets them pass. The same seven as in libsodium's ge25519_has_small_order.
_PRIME = 2**255 - 19
_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_WEAK = frozenset({0, 1, _ORDER_8, _PRIME - _ORDER_8, _PRIME - 1, _PRIME, _PRIME + 1})


def is_weak(point: bytes) -> bool:
    """Whether this is a point of small order: under such a key anybody can sign, and no honest signature begins with one."""
    return int.from_bytes(point, "little") % 2**255 in _WEAK


def _header(kind: Kind) -> bytes:
    return f"pumasi/{kind}/v1\n".encode()


def _message(kind: Kind, body: Any) -> bytes:
    return _header(kind) + canonical(body)


def sign(kind: Kind, body: Any, keys: Keys) -> bytes:
    """The canonical bytes of `{body, key, sig}`: a document that travels."""
    signature = keys.signing.sign(_message(kind, body))
    return canonical({"body": body, "key": keys.public, "sig": b64(signature)})


@dataclass(frozen=True)
class Signed:
    """A document whose signature holds under `key`. Whether `key` may say this is for the rules to decide."""

    body: Any
    key: str
    data: bytes

    @property
    def digest(self) -> str:
        return sha256(self.data)


def possession(body: Any, keys: Keys) -> str:
    """Proof that somebody holds the key that `body` announces: its signature, in base64."""
    return detached("key-rotation", body, keys.signing)


def detached(kind: Kind, body: Any, key: Ed25519PrivateKey) -> str:
    """A signature that travels without its body, in base64."""
    return b64(key.sign(_message(kind, body)))


def possesses(public: str, body: Any, proof: str, *, kind: Kind = "key-rotation") -> bool:
    """Whether `proof` was made with the key `public`; a key under which anybody can sign proves nothing."""
    raw, signature = unb64(public, 32), unb64(proof, 64)
    if is_weak(raw) or is_weak(signature[:32]):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(signature, _message(kind, body))
    except InvalidSignature:
        return False
    return True


def open_signed(kind: Kind, data: bytes) -> Signed:
    """Parse and check a signed document; `Tampered` when form or signature do not hold."""
    value = parse_canonical(data)
    if not isinstance(value, dict) or value.keys() != {"body", "key", "sig"}:
        raise Tampered(f"a signed {kind} has exactly the fields body, key and sig")
    if not isinstance(value["key"], str) or not isinstance(value["sig"], str):
        raise Tampered(f"key and sig of a signed {kind} are base64 texts")
    public, signature = _public_key(value["key"]), unb64(value["sig"], 64)
    if public is None:
        raise Tampered(f"anybody can sign with the key on this {kind}")
    if is_weak(signature[:32]):
        raise Tampered(f"the signature on this {kind} does not hold")
    # the document is canonical, so what is signed stands in it, between the beginning and the two fields behind
    end = len(f',"key":"{value["key"]}","sig":"{value["sig"]}"}}')
    try:
        public.verify(signature, _header(kind) + data[len('{"body":') : -end])
    except InvalidSignature as error:
        raise Tampered(f"the signature on this {kind} does not hold") from error
    return Signed(value["body"], value["key"], data)


@lru_cache(maxsize=4096)
def _public_key(text: str) -> Ed25519PublicKey | None:
    """The key, which most documents share with others; None if anybody can sign under it."""
    raw = unb64(text, 32)
    return None if is_weak(raw) else Ed25519PublicKey.from_public_bytes(raw)


def new_id() -> str:
    """A random 128-bit identifier in hexadecimal: it says nothing about what it names."""
    return secrets.token_hex(16)


def new_salt() -> str:
    return secrets.token_hex(32)


def commit(salt: str, body: Any) -> str:
    """A salted commitment: SHA-256(salt || canonical body). Once salt and body are erased it is 32 random-looking bytes."""
    return sha256(bytes.fromhex(salt) + canonical(body))
