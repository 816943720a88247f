"""The only module of a node that speaks outwards. It dials the hub; nothing dials the node.

Outwards go signed events, sealed shares and releases, each by its own function and type. Everything else here only fetches.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pumasi.channel import Channel
from pumasi.kernel.envelope import Keys, b64, unb64
from pumasi.kernel.errors import NotFound, Unreachable
from pumasi.node.outgoing import Release, SealedShare, SignedEvent
from pumasi.store.document import Document
from pumasi.store.mail import unpacked
from pumasi.store.tail import Tail

LONG_POLL = 20.0


@dataclass(frozen=True)
class News:
    """What the log has that this node has not."""

    entries: list[bytes]
    checkpoint: str | None
    wanted: int | None = None  # from where on a hub that was restored asks to be given the log back


def _only(kind: type, thing: object) -> None:
    if type(thing) is not kind:  # no assertion, which `python -O` would leave out; no subclass, which could be anything
        raise TypeError(f"this way out is for {kind.__name__} alone")


class Courier:
    def __init__(self, hub: str, certificate: Path, *, hospital: str, keys: Keys) -> None:
        self._hospital, self._keys = hospital, keys
        self._channel = Channel(hub, certificate, author=hospital, keys=keys, patience=30.0)

    def close(self) -> None:
        self._channel.close()

    def move(self, hub: str, certificate: Path) -> None:
        """Speak to another hub from now on: the log was handed over. Whoever waits for the old one is told that it does not answer."""
        old, self._channel = self._channel, Channel(hub, certificate, author=self._hospital, keys=self._keys, patience=30.0)
        old.close()

    # --- outwards ---

    def send_event(self, event: SignedEvent) -> list[str]:
        """Offer an event to the log; the reasons if the log refuses it."""
        _only(SignedEvent, event)
        if event.document is not None:
            self._channel.put(f"/documents/{event.document.commitment}", event.document.data)
        answer = self._channel.post("/events", b64(event.data).encode("ascii")).json()
        return [str(reason) for reason in answer[0]["reasons"]]

    def send_paper(self, document: Document) -> None:
        """Give a hub that took the log over a document that the log commits to, and that its author cannot send any more."""
        _only(Document, document)
        self._channel.put(f"/documents/{document.commitment}", document.data)

    def send_share(self, share: SealedShare) -> None:
        _only(SealedShare, share)
        self._channel.put(f"/jobs/{share.job}/{share.label}", share.data)

    def trade_share(self, share: SealedShare, *, wait: float) -> dict[str, bytes]:
        """Send a share and take, in the same request, what lies under its label by sender; waits until all have sent."""
        _only(SealedShare, share)
        return unpacked(self._channel.post(f"/jobs/{share.job}/{share.label}?wait={wait}", share.data, wait=wait).content)

    def send_release(self, release: Release) -> None:
        _only(Release, release)
        self._channel.put(f"/jobs/{release.job}/release", release.data)

    def cosign(self, size: int, line: str) -> None:
        """Add this node's cosignature to a checkpoint that it has checked."""
        with contextlib.suppress(NotFound):  # a newer checkpoint has replaced it; that one is next
            self._channel.post(f"/cosignatures/{size}", line.encode("utf-8"))

    def show_head(self, text: str) -> None:
        """Let the other hospitals see which head of the log this node was shown."""
        self._channel.put("/gossip", text.encode("utf-8"))

    def give_back(self, tail: Tail) -> None:
        """Let a hub that was restored have what this copy of the log holds and it lacks; the log is public."""
        _only(Tail, tail)
        self._channel.put("/recovery", tail.model_dump_json().encode())

    # --- inwards ---

    def news(self, start: int, *, seen: int, wait: float = LONG_POLL) -> News:
        answer = self._channel.get(f"/log?start={start}&seen={seen}&wait={wait}", wait=wait).json()
        return News([unb64(entry) for entry in answer["entries"]], answer["checkpoint"], answer.get("wanted"))

    def heads(self) -> dict[str, str]:
        """The head of the log that each hospital says it was shown."""
        found: dict[str, str] = self._channel.get("/gossip").json()
        return found

    def handover(self, place: str, certificate: Path) -> bytes | None:
        """The handover that the hub at another place shows; None while nobody answers there, or has none."""
        channel = Channel(place, certificate, author=self._hospital, keys=self._keys, patience=0.0)
        try:
            return channel.get("/handover").content
        except (NotFound, Unreachable):
            return None
        finally:
            channel.close()

    def messages(self, job: str, label: str, *, sender: str | None = None, wait: float = LONG_POLL) -> dict[str, bytes]:
        """What has arrived under this label, by sender; waits until all (or the one) have sent."""
        only = f"&sender={quote(sender)}" if sender else ""
        answer = self._channel.get(f"/jobs/{job}/{label}?wait={wait}{only}", wait=wait).json()
        return {name: unb64(data) for name, data in answer.items()}

    def document(self, commitment: str) -> Document:
        return Document.read(self._channel.get(f"/documents/{commitment}").content, commitment)

    def key_share(self, case: str) -> bytes:
        """The coordinator's half of a workspace key, sealed to this node."""
        return unb64(self._channel.get(f"/cases/{case}/share").json()["sealed"])
