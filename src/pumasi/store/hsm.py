"""Custodians in a hardware security module, over PKCS#11: a key is made in the device, answers there and can never be read out.

What a real device destroys is gone, because no backup or snapshot of a machine reaches into it. SoftHSM 2, for tests and trials,
keeps its keys in files: whoever copied them before `destroy` brings the key back, and then the other party's destroyed key alone
keeps a workspace closed. The method that goes into a certificate says which of the two it was.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.types import SecretKey, Session, SignMixin, Token

from pumasi.kernel.errors import Invalid, NotFound, Unreachable
from pumasi.store.custody import KEY_SIZE

T = TypeVar("T")

_WRONG_PIN = (
    pkcs11.PinIncorrect,
    pkcs11.PinInvalid,
    pkcs11.PinLenRange,
    pkcs11.PinLocked,
    pkcs11.PinExpired,
    pkcs11.UserPinNotInitialized,
)
_CANNOT = (
    pkcs11.MechanismInvalid,
    pkcs11.FunctionNotSupported,
    pkcs11.TemplateInconsistent,
    pkcs11.AttributeTypeInvalid,
    pkcs11.AttributeValueInvalid,
    pkcs11.KeySizeRange,
    pkcs11.TokenWriteProtected,
)

# python-pkcs11 tells the library that one thread at a time will call it; two at once end the process.
_LIBRARY = threading.Lock()


class Hsm:
    """One token: logged in at first use and again whenever the connection is lost. Threads wait for each other.

    A PIN that the token refused is never tried again, because devices lock after a few tries: correct it and start anew.
    """

    def __init__(self, module: Path, *, token: str, pin: str) -> None:
        self._module, self._label, self._pin = module, token, pin
        self._session: Session | None = None
        self._seen = self._refused = False

    def custodian(self, label: str) -> HsmCustodian:
        return HsmCustodian(self, label)

    def create(self, label: str) -> HsmCustodian:
        """A new random key in the device; `Invalid` when the label is taken, so that no key is ever replaced."""
        self.run(lambda session: _create(session, label))
        return HsmCustodian(self, label)

    def holds(self, label: str) -> bool:
        return self.run(lambda session: bool(_keys(session, label)))

    def close(self) -> None:
        """Log out. The next use logs in again."""
        with _LIBRARY:
            self._disconnect()

    def run(self, act: Callable[[Session], T]) -> T:
        """Do this with a session: the one there is, else a new one, else one after the library was initialised anew."""
        with _LIBRARY:
            for restore in (self._keep, self._disconnect, self._reinitialise):
                restore()
                try:
                    session = self._connected()
                    session.generate_random(64)  # a session that ended is told from a key that is gone
                    return act(session)
                except _WRONG_PIN as error:
                    self._refused = True
                    raise self._pin_refused(type(error).__name__) from None
                except _CANNOT as error:
                    raise Invalid(
                        f"the token '{self._label}' cannot hold keys for HMAC-SHA-256 that never leave it ({type(error).__name__})"
                    ) from error
                except pkcs11.PKCS11Error as error:
                    lost = error
            raise Unreachable(f"the token '{self._label}' does not answer ({type(lost).__name__})") from lost

    def _connected(self) -> Session:
        if self._session is None:
            if self._refused:
                raise self._pin_refused("not tried again")
            token = self._token()
            try:
                self._session = token.open(rw=True, user_pin=self._pin)
            except pkcs11.UserAlreadyLoggedIn:  # another part of this process did; a login holds for all of its sessions
                self._session = token.open(rw=True)
        return self._session

    def _token(self) -> Token:
        if not self._module.is_file():
            raise Invalid(f"there is no PKCS#11 module at {self._module}; name the library (.so) that came with the device")
        try:
            library = pkcs11.lib(str(self._module))
        except pkcs11.PKCS11Error as error:
            raise Invalid(f"{self._module} cannot be loaded as a PKCS#11 module: {error}") from error
        tokens = list(library.get_tokens())
        found = [token for token in tokens if token.label == self._label]
        if not found and self._seen:
            raise Unreachable(f"the token '{self._label}' was here and is gone; connect it again")
        if len(found) != 1:
            known = ", ".join(f"'{token.label}'" for token in tokens if token.label) or "none"
            raise Invalid(f"{len(found)} tokens are called '{self._label}', which must be one; the module {self._module} has: {known}")
        self._seen = True
        return found[0]

    def _pin_refused(self, how: str) -> Invalid:
        return Invalid(f"the token '{self._label}' refuses the PIN ({how}); correct it and start again, before the device locks itself")

    def _keep(self) -> None:
        """Nothing to restore."""

    def _disconnect(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(pkcs11.PKCS11Error):  # it may have ended at the other side
                session.close()

    def _reinitialise(self) -> None:
        """After someone else in this process finalised the library, or the device's service was started anew."""
        self._disconnect()
        library = pkcs11.lib(str(self._module))
        with contextlib.suppress(pkcs11.PKCS11Error):
            library.finalize()
        library.initialize()


class HsmCustodian:
    """The key of this label in a device (store.custody.Custodian). SHA-256 HMAC is computed inside."""

    def __init__(self, hsm: Hsm, label: str) -> None:
        self._hsm, self._label = hsm, label

    @property
    def method(self) -> str:
        return self._hsm.run(lambda session: _method(session.token))

    def evaluate(self, context: bytes) -> bytes:
        return self._hsm.run(lambda session: _evaluate(session, self._label, context))

    def destroy(self) -> None:
        self._hsm.run(lambda session: _destroy(session, self._label))


def _create(session: Session, label: str) -> None:
    if _keys(session, label):
        raise Invalid(f"the token holds a key '{label}' already; a key is never replaced, destroy it first")
    key = _generate(session, label, store=True)
    try:
        _only(session, label)
    except Invalid:  # another process made one in the same moment, or the device ignores what was asked for
        key.destroy()
        raise


def _generate(session: Session, label: str, *, store: bool) -> SecretKey:
    return session.generate_key(
        KeyType.GENERIC_SECRET,
        8 * KEY_SIZE,
        label=label,
        store=store,
        capabilities=MechanismFlag.SIGN,
        template={Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.MODIFIABLE: False},
    )


def _evaluate(session: Session, label: str, context: bytes) -> bytes:
    key = _only(session, label)
    answer = key.sign(context, mechanism=Mechanism.SHA256_HMAC) if isinstance(key, SignMixin) else None
    if not isinstance(answer, bytes) or len(answer) != KEY_SIZE:
        raise Invalid(f"the key '{label}' does not answer with the {KEY_SIZE} bytes of an HMAC-SHA-256")
    return answer


def _destroy(session: Session, label: str) -> None:
    for key in _keys(session, label):
        key.destroy()


def _keys(session: Session, label: str) -> list[SecretKey]:
    """All keys of this label. That there is none is only said by a session that may still make one, and so would see one.

    A session that somebody logged out finds no private key and gives no error: a key that lives on would pass for destroyed.
    """
    found = _search(session, label)
    if not found:
        _generate(session, f"control {secrets.token_hex(8)}", store=False).destroy()
    return found


def _search(session: Session, label: str) -> list[SecretKey]:
    found = list(session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: label}))
    return [key for key in found if isinstance(key, SecretKey)]


def _only(session: Session, label: str) -> SecretKey:
    """The key of this label, which was made in the device and has never been readable."""
    found = _keys(session, label)
    if not found:
        raise NotFound(f"the token holds no key '{label}': it was destroyed or never existed")
    if len(found) > 1:
        raise Invalid(f"the token holds {len(found)} keys '{label}'; which one is meant cannot be known")
    key = found[0]
    if key[Attribute.EXTRACTABLE] or not (key[Attribute.LOCAL] and key[Attribute.ALWAYS_SENSITIVE] and key[Attribute.NEVER_EXTRACTABLE]):
        raise Invalid(f"the key '{label}' was not made in the token or may leave it, so its destruction would prove nothing")
    return key


def _method(token: Token) -> str:
    """One line for a certificate, with the device's own name for itself."""
    device = f"{token.model}, serial {token.serial.decode('ascii', 'replace')}"
    device = "".join(character for character in device if character.isprintable()).strip()
    if "SoftHSM" in f"{token.manufacturer_id} {token.model}":
        return f"the key object was destroyed in the software token {device} (C_DestroyObject); copies of its files are not reached"
    return f"the key object was destroyed in the PKCS#11 token {device} (C_DestroyObject), where it was made and which it could not leave"
