"""How bytes are closed for one reader: under a shared key (AES-256-GCM), or to an X25519 key that only its holder can open."""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pumasi.kernel.errors import Invalid, Refused, Tampered

_NONCE = 12  # NIST SP 800-38D 8.2.2: a random nonce of 96 bits
_PUBLIC = 32


def seal(key: bytes, plaintext: bytes, *, context: bytes) -> bytes:
    """Nonce, ciphertext and tag under AES-256-GCM. `context` (job, round, sender) is not sent, but opens it."""
    nonce = os.urandom(_NONCE)
    return nonce + _aead(key).encrypt(nonce, plaintext, context)


def unseal(key: bytes, sealed: bytes, *, context: bytes) -> bytes:
    """The plaintext, or `Tampered` when key, context or any bit differs."""
    try:
        return _aead(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], context)
    except (InvalidTag, ValueError):  # ValueError: too short to hold a nonce
        raise Tampered("a sealed message does not open: it was changed, or belongs to another job, round or sender") from None


def seal_to(public: bytes, plaintext: bytes, *, context: bytes) -> bytes:
    """A message that only the holder of the X25519 key `public` can open. It says nothing about who sent it: sign it where that matters."""
    ephemeral = X25519PrivateKey.generate()
    secret = exchange(ephemeral, public)
    if secret is None:
        raise Refused("the key to seal a message to is not a usable X25519 key")
    offered = ephemeral.public_key().public_bytes_raw()
    return offered + seal(derive(secret, salt=offered + public, info="pumasi/seal/v1"), plaintext, context=context)


def unseal_from(private: X25519PrivateKey, sealed: bytes, *, context: bytes) -> bytes:
    """The plaintext of `seal_to`, or `Tampered` when key, context or any bit differs."""
    offered, rest = sealed[:_PUBLIC], sealed[_PUBLIC:]
    secret = exchange(private, offered)
    if secret is None:
        raise Tampered("a sealed message does not open: the key it carries is not a usable X25519 key")
    return unseal(derive(secret, salt=offered + private.public_key().public_bytes_raw(), info="pumasi/seal/v1"), rest, context=context)


def exchange(mine: X25519PrivateKey, theirs: bytes) -> bytes | None:
    """The shared secret; None when the other key is malformed or forces the all-zero secret."""
    try:
        return mine.exchange(X25519PublicKey.from_public_bytes(theirs))
    except ValueError:
        return None


def derive(secret: bytes, *, salt: bytes, info: str) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info.encode()).derive(secret)


def _aead(key: bytes) -> AESGCM:
    if len(key) != 32:
        raise Invalid("a sealing key is 32 bytes long")
    return AESGCM(key)


def release_key(shares: dict[str, bytes], digest: str) -> bytes:
    """The key to a released result, from the parts of all its hospitals; one part missing, and it stays closed."""
    return derive(b"".join(shares[hospital] for hospital in sorted(shares)), salt=bytes.fromhex(digest), info="pumasi/release/v1")
