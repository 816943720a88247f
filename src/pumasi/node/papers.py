"""The papers of this hospital's own cases: what a hub that takes the log over lacks of them, and what is kept here for that day.

A hub can vanish with every document it held. Each author sends its own again; the coordinating body's certificates of its halves have
nobody to do that when it is gone, so the hospital that each is about keeps a copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pumasi.kernel.envelope import canonical, parse_canonical
from pumasi.kernel.errors import NotFound
from pumasi.kernel.event import Entry, ShareCertified
from pumasi.node.app import Node
from pumasi.node.outgoing import SignedEvent

# Which field of an event commits to a document that the other parties need.
DOCUMENT = {"PermitIssued": "permit", "WorkspaceOpened": "manifest", "WorkspaceDestroyed": "certificate", "DatasetDescribed": "dataset"}
SEND_AGAIN, LOOKED_AT = "papers|send again", "papers|looked at"  # notes
PAGE = 2000


class Papers:
    def __init__(self, node: Node) -> None:
        self._node = node

    def send_again(self) -> None:
        """After a handover: what the new hub may lack, before anything else is said to it."""
        if self._node.site.noted(SEND_AGAIN) is not None:
            self._send_again()
            self._node.site.forget(SEND_AGAIN)

    def keep(self) -> None:
        """Fetch the certificates about this hospital that are new."""
        site = self._node.site
        noted = site.noted(LOOKED_AT)
        start = min(int(parse_canonical(noted)), site.tree.size) if noted is not None else 0
        while start < site.tree.size:
            page = site.entries(start, start + PAGE)
            for event in self._certified(page):
                site.keep(self._node.courier.document(event.certificate))
            start += len(page)
            site.note(LOOKED_AT, canonical(start))

    def _certified(self, page: list[bytes]) -> Iterator[ShareCertified]:
        """The certificates about this hospital that are not here and can be had."""
        for data in page:
            if b'"ShareCertified"' in data:  # reading every event of a long log takes minutes
                event = Entry(data).event
                if isinstance(event, ShareCertified) and event.hospital == self._node.site.id and not self._has(event.certificate):
                    yield event

    def _has(self, commitment: str) -> bool:
        try:
            self._node.site.document(commitment)
        except NotFound:
            return False
        return True

    def _send_again(self) -> None:
        site, courier = self._node.site, self._node.courier
        for start in range(0, site.tree.size, PAGE):
            for data in site.entries(start, start + PAGE):
                event: Any = Entry(data).event
                if event.author == site.id and event.type in DOCUMENT and self._has(getattr(event, DOCUMENT[event.type])):
                    courier.send_event(SignedEvent(data, site.document(getattr(event, DOCUMENT[event.type]))))
                if isinstance(event, ShareCertified) and event.hospital == site.id and self._has(event.certificate):
                    courier.send_paper(site.document(event.certificate))
