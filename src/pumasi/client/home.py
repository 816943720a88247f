"""The folder of a person, or of a member without a node: a key, the pinned hub, and everything ever signed with the key.

`outbox.jsonl` is appended and synced before anything is sent, so an act that was recorded survives a hub that is down: the next
command sends it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tomllib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pumasi.channel import Channel
from pumasi.kernel.envelope import Keys, b64, sign, unb64
from pumasi.kernel.errors import Invalid, NotFound, Refused, Tampered
from pumasi.kernel.event import CONSORTIUM, Entry, KeyRotated
from pumasi.kernel.seal import unseal_from
from pumasi.ledger.handover import Handover
from pumasi.store.document import Document
from pumasi.store.rotation import change, finish, next_of, write_next


def read_toml(path: Path) -> dict[str, Any]:
    """A small file of settings; `Invalid` when it cannot be read as one."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Invalid(f"{path} is not UTF-8 text; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"{path} is not valid TOML: {error}") from error


def _identity(id: str, hub: str) -> str:
    return f"# Whose folder this is, and which hub it speaks to.\nid = {json.dumps(id, ensure_ascii=False)}\nhub = {json.dumps(hub)}\n"


class Home:
    """One party's folder. Several processes may act from it at once; they record one after the other."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "identity.toml").is_file():
            raise Invalid(
                f"{folder} is nobody's folder yet; make one with `pumasi key new --home {folder} --id ID --hub URL --hub-cert FILE`"
            )
        identity = read_toml(folder / "identity.toml")
        missing = [key for key in ("id", "hub") if key not in identity]
        if missing:
            raise Invalid(f"{folder / 'identity.toml'} names no {' and no '.join(missing)}; put it back as `pumasi key new` wrote it")
        self.folder, self.id, self.hub = folder, str(identity["id"]), str(identity["hub"])
        self._settle_rotation()
        self.keys = Keys.from_text((folder / "secret.key").read_text())
        self.channel = Channel(self.hub, folder / "hub.crt", author=self.id, keys=self.keys)

    @classmethod
    def new(cls, folder: Path, *, id: str, hub: str, certificate: Path) -> Home:
        """Make a key for `id`. Whoever it belongs to must still be enrolled by a member (or apply for membership)."""
        if (folder / "identity.toml").exists():
            raise Invalid(f"{folder} belongs to somebody already; choose another folder")
        if not certificate.is_file():
            raise Invalid(f"there is no hub certificate at {certificate}; copy hub.crt from the coordinating body")
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / "votes").mkdir(mode=0o700, exist_ok=True)
        shutil.copyfile(certificate, folder / "hub.crt")
        with os.fdopen(os.open(folder / "secret.key", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(Keys.new().to_text())
        (folder / "identity.toml").write_text(_identity(id, hub), encoding="utf-8")
        return cls(folder)

    def close(self) -> None:
        self.channel.close()

    def rotate(self) -> None:
        """A new key for this party, announced with the present one; what was sealed to the present one can still be opened."""
        new = Keys.new()
        with self._alone():
            self.send_kept()
            write_next(self.folder / "secret.key", new.to_text())
            self._record(KeyRotated, CONSORTIUM, (), change(self.id, self.keys, new, None))
        self._settle_rotation()
        self.keys = new
        self.channel.close()
        self.channel = Channel(self.hub, self.folder / "hub.crt", author=self.id, keys=new)

    def _settle_rotation(self) -> None:
        """Finish, or undo, what a crash interrupted: the next key counts once the log has its announcement."""
        path = self.folder / "secret.key"
        if next_of(path).exists():
            public = Keys.from_text(next_of(path).read_text()).public
            refused = {line["event"] for line in self._lines() if line["do"] == "refused"}
            said = [Entry(unb64(line["event"])).event for line in self._lines() if line["do"] == "send" and line["event"] not in refused]
            announced = any(isinstance(event, KeyRotated) and event.key == public for event in said)
            finish(path, announced=announced, earlier=self.folder / "earlier.keys")

    def move(self, handover: Handover) -> int:
        """Speak to the hub that a handover names, and send again whatever the one before may have kept to itself; how many events."""
        for name, text in (("hub.crt", handover.certificate), ("identity.toml", _identity(self.id, handover.statement.place))):
            new = self.folder / f"{name}.new"
            new.write_text(text, encoding="utf-8")
            new.replace(self.folder / name)
        self.channel.close()
        self.hub = handover.statement.place
        self.channel = Channel(self.hub, self.folder / "hub.crt", author=self.id, keys=self.keys)
        with self._alone():
            return self._send_again()

    def _send_again(self) -> int:
        lines = self._lines()
        documents = {line["event"]: line["documents"] for line in lines if line["do"] == "send"}
        events = [line["event"] for line in lines if line["do"] == "logged"]
        for event in events:
            for commitment, data in documents.get(event, []):
                self.channel.put(f"/documents/{commitment}", unb64(data))
        answers = self.channel.post("/events", "\n".join(events).encode("ascii")).json() if events else []
        refused = [reason for answer in answers for reason in answer["reasons"]]
        if refused:
            raise Refused("the new hub does not take what the old one had taken", *dict.fromkeys(refused))
        return len(events)

    def unseal(self, sealed: bytes, *, context: bytes) -> bytes:
        """What was sealed to this party, under its key or under one that it had before; `Tampered` when none opens it."""
        path = self.folder / "earlier.keys"
        lines = path.read_text().split() if path.is_file() else []
        for at in range(0, len(lines), 2):
            with contextlib.suppress(Tampered):
                return unseal_from(Keys.from_text("\n".join(lines[at : at + 2])).box, sealed, context=context)
        return unseal_from(self.keys.box, sealed, context=context)

    def card(self) -> dict[str, str]:
        """What the member that enrols this person needs to know: nothing secret."""
        return {"person": self.id, "key": self.keys.public, "box": self.keys.box_public}

    def record(self, kind: type[Any], /, *, case: str, opened: Iterable[Document] = (), **fields: Any) -> str:
        """Sign an event, keep it, send it with its documents; its digest. `Refused` with the reasons when the rules say no."""
        with self._alone():
            return self._record(kind, case, opened, fields)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait until no other process records from this folder; the system takes the lock back from one that was killed."""
        with (self.folder / "recording.lock").open("a+b") as file:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _record(self, kind: type[Any], case: str, opened: Iterable[Document], fields: dict[str, Any]) -> str:
        self.send_kept()
        seq, prev = self._chain(case)
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        event = kind.read({"type": kind.__name__, "case": case, "author": self.id, "seq": seq, "prev": prev, "at": at, **fields})
        data = sign("event", event.plain(), self.keys)
        documents = [(document.commitment, b64(document.data)) for document in opened]
        self._keep({"do": "send", "event": b64(data), "documents": documents})
        self.send_kept()
        return Entry(data).digest

    def _chain(self, case: str) -> tuple[int, str | None]:
        sent = [Entry(unb64(line["event"])) for line in self._lines() if line["do"] == "logged"]
        mine = [entry for entry in sent if entry.event.case == case]
        return (len(mine), mine[-1].digest) if mine else (0, None)

    def send_kept(self) -> None:
        """Send what is recorded and not yet logged; usually nothing."""
        lines = self._lines()
        settled = {line["event"] for line in lines if line["do"] in ("logged", "refused")}
        for line in lines:
            if line["do"] == "send" and line["event"] not in settled:
                self._send(line)

    def _send(self, line: dict[str, Any]) -> None:
        # A membership application comes before its author is known, so it carries no documents.
        for commitment, data in line["documents"]:
            self.channel.put(f"/documents/{commitment}", unb64(data))
        answer = self.channel.post("/events", line["event"].encode("ascii")).json()[0]
        self._keep({"do": "refused" if answer["reasons"] else "logged", "event": line["event"]})
        if answer["reasons"]:
            raise Refused(*answer["reasons"])

    def _lines(self) -> list[dict[str, Any]]:
        path = self.folder / "outbox.jsonl"
        if not path.exists():
            return []
        lines = path.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines[:-1]]  # what follows the last newline was torn off by a crash, and never sent

    def _keep(self, line: dict[str, Any]) -> None:
        path = self.folder / "outbox.jsonl"
        with path.open("a+b") as file:
            file.seek(0)
            whole = file.read().rfind(b"\n") + 1
            file.truncate(whole)
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def secret(self, name: str, value: dict[str, Any]) -> None:
        """Keep what only this person may know until it is opened, such as a vote."""
        with os.fdopen(os.open(self.folder / "votes" / f"{name}.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())

    def kept_secret(self, name: str) -> dict[str, Any]:
        path = self.folder / "votes" / f"{name}.json"
        if not path.is_file():
            raise NotFound(f"the vote {name[:12]}… is not in {self.folder}; it can only be opened from the folder it was cast from")
        value: dict[str, Any] = json.loads(path.read_text())
        return value
