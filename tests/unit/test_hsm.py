"""One behaviour, two kinds of custodian: files, and a security module over PKCS#11 (SoftHSM 2, a real library with a token of its own)."""

from __future__ import annotations

import ctypes
import hashlib
import hmac
import importlib.util
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from pumasi.kernel.errors import Invalid, NotFound, Tampered, Unreachable
from pumasi.node.workspace import cipher, vault
from pumasi.store.custody import workspace_key
from pumasi.store.keyring import TEMPLATE, CustodySettings, FileKeyring, HsmKeyring, Keyring, open_keyring

PERMIT = "ab" * 32
PIN = "nobody-guesses-4711"
MODULE = next(
    (
        path
        for folder in ("/usr/lib/softhsm", "/usr/lib64/pkcs11", "/usr/lib64/softhsm")
        if (path := Path(folder, "libsofthsm2.so")).exists()
    ),
    None,
)
needs_softhsm = pytest.mark.skipif(
    MODULE is None or shutil.which("softhsm2-util") is None or importlib.util.find_spec("pkcs11") is None,
    reason="SoftHSM 2 (Debian: apt-get install softhsm2) or python-pkcs11 (pumasi[hsm]) is not installed",
)


@dataclass(frozen=True)
class SoftHsm:
    """A SoftHSM of its own. `tokens` are its files: what a thief of backups has."""

    module: Path
    tokens: Path

    def add(self, token: str) -> None:
        command = ["softhsm2-util", "--init-token", "--free", "--label", token, "--pin", PIN, "--so-pin", "operator-4711"]
        subprocess.run(command, check=True, capture_output=True)
        self.reload()

    def remove(self) -> None:
        shutil.rmtree(self.tokens)
        self.tokens.mkdir()
        self.reload()

    def restore(self, backup: Path) -> None:
        shutil.rmtree(self.tokens)
        shutil.copytree(backup, self.tokens)
        self.reload()

    def reload(self) -> None:
        """Finalise the library behind everybody's back: it reads its files anew."""
        ctypes.CDLL(str(self.module)).C_Finalize(None)


@pytest.fixture
def softhsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftHsm]:
    assert MODULE is not None
    device = SoftHsm(MODULE, tmp_path / "tokens")
    device.tokens.mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {device.tokens}\nlog.level = ERROR\n", encoding="utf-8")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    device.add("pumasi")
    yield device
    device.reload()


def settings(device: SoftHsm, folder: Path, *, token: str = "pumasi", pin: str = PIN) -> CustodySettings:
    file = folder / "hsm.pin"
    file.touch(mode=0o600)
    file.write_text(f"{pin}\n", encoding="utf-8")
    return CustodySettings(kind="pkcs11", module=str(device.module), token=token, pin_file=str(file))


def in_device(device: SoftHsm, folder: Path, *, owner: str = "hospital", token: str = "pumasi", pin: str = PIN) -> Keyring:
    return open_keyring(settings(device, folder, token=token, pin=pin), home=folder, folder=folder / "keys", owner=owner)


@pytest.fixture(params=["files", pytest.param("pkcs11", marks=needs_softhsm)])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Keyring]:
    """Opens the keyring, as a process that starts does."""
    if request.param == "files":
        return lambda: open_keyring(CustodySettings(), home=tmp_path, folder=tmp_path / "keys", owner="hospital")
    device: SoftHsm = request.getfixturevalue("softhsm")
    return lambda: in_device(device, tmp_path)


# --- what both kinds do


def test_a_key_answers_the_same_for_ever_and_differently_for_every_context_and_label(opened: Callable[[], Keyring]) -> None:
    keys = opened()
    first, second = keys.create("case-1"), keys.create("case-2")
    answers = [first.evaluate(b"workspace"), first.evaluate(b"pseudonyms"), second.evaluate(b"workspace")]
    assert len(set(answers)) == 3 and {len(answer) for answer in answers} == {32}
    assert opened().custodian("case-1").evaluate(b"workspace") == first.evaluate(b"workspace") == answers[0]


def test_a_key_is_never_replaced(opened: Callable[[], Keyring]) -> None:
    keys = opened()
    before = keys.create("case-1").evaluate(b"workspace")
    with pytest.raises(Invalid, match="never replaced"):
        keys.create("case-1")
    assert keys.custodian("case-1").evaluate(b"workspace") == before


def test_a_destroyed_key_answers_nobody_and_may_be_destroyed_again(opened: Callable[[], Keyring]) -> None:
    keys, others = opened(), opened()
    custodian, other = keys.create("case-1"), others.custodian("case-1")
    kept = keys.create("case-2").evaluate(b"workspace")
    other.evaluate(b"workspace")
    assert keys.holds("case-1") and others.holds("case-1")
    custodian.destroy()
    for gone in (custodian, other, opened().custodian("case-1")):
        with pytest.raises(NotFound, match="destroyed or never existed"):
            gone.evaluate(b"workspace")
        gone.destroy()
    assert not keys.holds("case-1") and not others.holds("case-1")
    assert keys.custodian("case-2").evaluate(b"workspace") == kept


def test_a_key_that_never_existed_is_told_so_and_nothing_is_made(opened: Callable[[], Keyring]) -> None:
    keys = opened()
    keys.custodian("nothing").destroy()
    with pytest.raises(NotFound, match="never existed"):
        keys.custodian("nothing").evaluate(b"workspace")
    assert not keys.holds("nothing")


def test_a_label_that_could_name_another_place_is_refused(opened: Callable[[], Keyring]) -> None:
    for label in ("", "../other", "A", "a" * 81):
        with pytest.raises(ValueError, match="label"):
            opened().create(label)


def test_threads_may_share_a_keyring_and_open_their_own(opened: Callable[[], Keyring]) -> None:
    keys = opened()
    expected = keys.create("shared").evaluate(b"workspace")
    rings = [keys if number % 2 else opened() for number in range(8)]
    start = threading.Barrier(8, timeout=10)

    def use(number: int) -> None:
        mine = rings[number]
        start.wait()
        for _ in range(2):
            custodian = mine.create(f"case-{number}")
            answers = {key.evaluate(b"workspace") for key in (custodian, mine.custodian("shared")) for _ in range(25)}
            custodian.destroy()
            assert len(answers) == 2 and expected in answers and not mine.holds(f"case-{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(8)))


def encrypted(path: Path, key: bytes) -> Path:
    path.parent.mkdir()
    with cipher.writing(path, key, spill=path.parent / "spill", memory_mb=None) as connection:
        connection.execute("CREATE TABLE w.t0 (person INT)")
    return path


def opens(path: Path, key: bytes) -> bool:
    try:
        with cipher.reading(path, key):
            return True
    except Tampered:
        return False


def test_a_workspace_is_destroyed_with_facts_that_fit_a_certificate(opened: Callable[[], Keyring], tmp_path: Path) -> None:
    custodian = opened().create("case-1")
    workspace = encrypted(tmp_path / "workspace" / cipher.FILE, workspace_key(custodian.evaluate(b"workspace"), b"c" * 32, PERMIT)).parent
    gone = vault.destroy(workspace, custodian)
    assert (gone.attempts, gone.failures, gone.residual) == (8, 8, 0)
    assert custodian.method in gone.method and len(gone.method) <= 300 and gone.method.isprintable()


# --- what a copied token can and cannot bring back


@needs_softhsm
@pytest.mark.parametrize("restored", ["hospital", "coordinator"])
def test_a_restored_token_alone_opens_nothing(restored: str, softhsm: SoftHsm, tmp_path: Path) -> None:
    """SoftHSM's key does come back with a copy of its files. The other party's destroyed key is what keeps the workspace closed."""
    mine, theirs = in_device(softhsm, tmp_path, owner=restored).create("case-1"), FileKeyring(tmp_path / "theirs").create("case-1")

    def key(half: bytes, other: bytes) -> bytes:
        return workspace_key(half, other, PERMIT) if restored == "hospital" else workspace_key(other, half, PERMIT)

    half = mine.evaluate(b"workspace")
    workspace = encrypted(tmp_path / "workspace" / cipher.FILE, key(half, theirs.evaluate(b"workspace")))
    backup = Path(shutil.copytree(tmp_path / "workspace", tmp_path / "workspace backup")) / cipher.FILE
    shutil.copytree(softhsm.tokens, tmp_path / "token backup")
    mine.destroy()
    with pytest.raises(NotFound):
        mine.evaluate(b"workspace")
    softhsm.restore(tmp_path / "token backup")
    assert mine.evaluate(b"workspace") == half
    assert opens(backup, key(half, theirs.evaluate(b"workspace")))  # with one party's key left, the attack succeeds
    theirs.destroy()
    with pytest.raises(NotFound):
        theirs.evaluate(b"workspace")
    assert workspace.exists()
    for guess in (bytes(32), half, b"c" * 32):
        assert not opens(backup, key(mine.evaluate(b"workspace"), guess))


# --- what only a device can get wrong


@needs_softhsm
def test_the_key_is_made_in_the_device_to_sign_alone_and_cannot_leave_it(softhsm: SoftHsm, tmp_path: Path) -> None:
    import pkcs11
    from pkcs11 import Attribute

    in_device(softhsm, tmp_path).create("case-1")
    session = pkcs11.lib(str(softhsm.module)).get_token(token_label="pumasi").open()  # logged in already
    (key,) = session.get_objects({Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY})
    yes = (Attribute.TOKEN, Attribute.PRIVATE, Attribute.SENSITIVE, Attribute.ALWAYS_SENSITIVE, Attribute.NEVER_EXTRACTABLE)
    no = (
        Attribute.EXTRACTABLE,
        Attribute.MODIFIABLE,
        Attribute.VERIFY,
        Attribute.ENCRYPT,
        Attribute.DECRYPT,
        Attribute.WRAP,
        Attribute.DERIVE,
    )
    assert {name: key[name] for name in yes + no} == {name: True for name in yes} | {name: False for name in no}
    assert key[Attribute.LOCAL] and key[Attribute.SIGN] and len(key[Attribute.LABEL]) == 39
    with pytest.raises(pkcs11.AttributeSensitive):
        key[Attribute.VALUE]
    session.close()


def planted(softhsm: SoftHsm, label: str) -> None:
    """A key whose value somebody outside knows."""
    import pkcs11
    from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

    session = pkcs11.lib(str(softhsm.module)).get_token(token_label="pumasi").open(rw=True)  # logged in already
    template = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.GENERIC_SECRET, Attribute.VALUE: b"k" * 32}
    key = session.create_object(template | {Attribute.TOKEN: True, Attribute.LABEL: label, Attribute.SIGN: True, Attribute.PRIVATE: True})
    assert key.sign(b"workspace", mechanism=Mechanism.SHA256_HMAC) == hmac.digest(b"k" * 32, b"workspace", hashlib.sha256)
    session.close()


@needs_softhsm
def test_a_key_that_came_from_outside_is_not_used_and_can_be_destroyed(softhsm: SoftHsm, tmp_path: Path) -> None:
    keys = in_device(softhsm, tmp_path)
    assert isinstance(keys, HsmKeyring) and not keys.holds("case-1")
    planted(softhsm, keys.device_label("case-1"))
    with pytest.raises(Invalid, match="not made in the token"):
        keys.custodian("case-1").evaluate(b"workspace")
    keys.custodian("case-1").destroy()
    assert not keys.holds("case-1")


@needs_softhsm
def test_two_keys_of_one_label_are_never_guessed_between_and_both_destroyed(softhsm: SoftHsm, tmp_path: Path) -> None:
    keys = in_device(softhsm, tmp_path)
    assert isinstance(keys, HsmKeyring) and not keys.holds("case-1")
    for _ in range(2):
        planted(softhsm, keys.device_label("case-1"))
    with pytest.raises(Invalid, match="2 keys"):
        keys.custodian("case-1").evaluate(b"workspace")
    keys.custodian("case-1").destroy()
    assert not keys.holds("case-1")


@needs_softhsm
def test_two_owners_on_one_token_hold_different_keys(softhsm: SoftHsm, tmp_path: Path) -> None:
    one, two = in_device(softhsm, tmp_path, owner="한강병원"), in_device(softhsm, tmp_path, owner="coordinator")
    assert one.create("case-1").evaluate(b"workspace") != two.create("case-1").evaluate(b"workspace")
    two.custodian("case-1").destroy()
    assert one.holds("case-1")


@needs_softhsm
def test_a_lost_connection_is_made_again(softhsm: SoftHsm, tmp_path: Path) -> None:
    import pkcs11

    keys = in_device(softhsm, tmp_path)
    before = keys.create("case-1").evaluate(b"workspace")
    pkcs11.lib(str(softhsm.module)).finalize()
    assert keys.custodian("case-1").evaluate(b"workspace") == before
    softhsm.reload()
    assert keys.custodian("case-1").evaluate(b"workspace") == before
    softhsm.reload()
    keys.custodian("case-1").destroy()
    assert not keys.holds("case-1")


@needs_softhsm
def test_a_session_that_was_logged_out_never_takes_a_living_key_for_destroyed(softhsm: SoftHsm, tmp_path: Path) -> None:
    from pumasi.store.hsm import Hsm

    first, second = (Hsm(softhsm.module, token="pumasi", pin=PIN) for _ in range(2))
    before = first.create("case-1").evaluate(b"workspace")
    for ask in (lambda: second.holds("case-1"), lambda: second.custodian("case-1").evaluate(b"workspace") == before):
        first.holds("case-1")
        assert second.holds("case-1")
        first.close()  # logs the whole process out, as PKCS#11 has it
        assert ask()
        second.close()
    first.holds("case-1")
    second.holds("case-1")
    first.close()
    second.custodian("case-1").destroy()
    assert not first.holds("case-1") and not second.holds("case-1")


@needs_softhsm
def test_a_token_that_is_gone_for_a_while_is_not_a_destroyed_key(softhsm: SoftHsm, tmp_path: Path) -> None:
    keys = in_device(softhsm, tmp_path)
    before = keys.create("case-1").evaluate(b"workspace")
    shutil.copytree(softhsm.tokens, tmp_path / "away")
    softhsm.remove()
    for ask in (keys.custodian("case-1").destroy, lambda: keys.holds("case-1"), lambda: keys.custodian("case-1").evaluate(b"workspace")):
        with pytest.raises(Unreachable, match="'pumasi' was here and is gone"):
            ask()
    softhsm.restore(tmp_path / "away")
    assert keys.custodian("case-1").evaluate(b"workspace") == before


@needs_softhsm
def test_a_wrong_pin_is_told_without_the_pin_and_not_tried_again(softhsm: SoftHsm, tmp_path: Path) -> None:
    keys = in_device(softhsm, tmp_path, pin="wrong-and-secret")
    with pytest.raises(Invalid, match="refuses the PIN") as first:
        keys.create("case-1")
    with pytest.raises(Invalid, match="not tried again") as second:
        keys.holds("case-1")
    for told in (first, second):
        assert "wrong-and-secret" not in f"{told.value} {told.value!r} {told.value.__cause__} {keys!r}"
    assert not in_device(softhsm, tmp_path).holds("case-1")


@needs_softhsm
def test_a_missing_token_or_module_is_told_with_what_there_is(softhsm: SoftHsm, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"0 tokens are called 'other'.* has: 'pumasi'"):
        in_device(softhsm, tmp_path, token="other").holds("case-1")
    softhsm.add("pumasi")
    with pytest.raises(Invalid, match="2 tokens are called 'pumasi'"):
        in_device(softhsm, tmp_path).holds("case-1")
    for module, told in ((tmp_path / "none.so", "no PKCS#11 module at"), (tmp_path / "hsm.pin", "cannot be loaded")):
        with pytest.raises(Invalid, match=told):
            in_device(SoftHsm(module, softhsm.tokens), tmp_path).holds("case-1")


# --- settings


def test_the_template_says_files_and_every_key_of_a_device() -> None:
    import tomllib

    assert CustodySettings.read(tomllib.loads(TEMPLATE)["custody"]) == CustodySettings()
    lines = [line.removeprefix("# ") for line in TEMPLATE.splitlines() if " = " in line and line != 'kind = "files"']
    assert CustodySettings.read(tomllib.loads("\n".join(lines))).kind == "pkcs11"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"kind": "pkcs11"}, "needs module, token and pin_file"),
        ({"kind": "pkcs11", "module": "m", "token": "t"}, "needs module, token and pin_file"),
        ({"kind": "files", "token": "t"}, "takes no token"),
        ({"token": "t"}, "takes no token"),
        ({"kind": "cloud"}, "files"),
        ({"pin": "1234"}, "pin"),
    ],
)
def test_half_a_choice_is_refused(given: dict[str, str], told: str) -> None:
    with pytest.raises(Invalid, match=told) as error:
        CustodySettings.read(given)
    assert "1234" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [
        (None, 0o600, "cannot be read"),
        (b"4711-secret\n", 0o640, "chmod 600"),
        (b"\n", 0o600, "in one line"),
        (b"4711-secret\n4712\n", 0o600, "in one line"),
        (b"4711-secret\xff", 0o600, "cannot be read"),
    ],
)
def test_an_unfit_pin_file_is_refused_without_its_content(content: bytes | None, mode: int, told: str, tmp_path: Path) -> None:
    pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed (pumasi[hsm])")
    if content is not None:
        (tmp_path / "pin").write_bytes(content)
        (tmp_path / "pin").chmod(mode)
    chosen = CustodySettings(kind="pkcs11", module="m.so", token="t", pin_file="pin")
    with pytest.raises(Invalid, match=told) as error:
        open_keyring(chosen, home=tmp_path, folder=tmp_path, owner="hospital")
    assert "4711" not in str(error.value)


def test_a_missing_package_is_told_by_name(tmp_path: Path) -> None:
    script = f"""
import sys; sys.modules["pkcs11"] = None
from pathlib import Path
from pumasi.store.keyring import CustodySettings, open_keyring
home = Path({str(tmp_path)!r})
open_keyring(CustodySettings(), home=home, folder=home / "keys", owner="hospital").create("case-1")
open_keyring(CustodySettings(kind="pkcs11", module="m", token="t", pin_file="p"), home=home, folder=home, owner="hospital")
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "Invalid: a hardware security module needs the package python-pkcs11; install pumasi[hsm]" in told.stderr
    assert (tmp_path / "keys" / "case-1.key").exists()
