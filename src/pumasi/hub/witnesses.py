"""Asking witnesses outside the membership for their cosignatures (C2SP tlog-witness): those that the policy names with an address.

A witness remembers the newest head that it has cosigned; what this hub remembers of it is only a guess, which the witness corrects.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from pumasi.channel import Answer, post
from pumasi.hub.log import Sequencer
from pumasi.kernel.envelope import b64
from pumasi.kernel.errors import PumasiError, Tampered, Unreachable
from pumasi.ledger import note

SECONDS = 10.0  # that a witness may take

log = logging.getLogger("pumasi.hub.witnesses")


class Witnesses:
    def __init__(self, sequencer: Sequencer, *, send: Callable[[str, bytes], Answer] = lambda url, body: post(url, body, seconds=SECONDS)):
        self._log, self._send = sequencer, send
        self._known: dict[str, int] = {}  # up to where each witness has cosigned, as far as this hub knows
        self._said: dict[str, str] = {}  # the last trouble with each, told once

    def step(self) -> int:
        """Ask every witness that has not cosigned the newest head; how many have now."""
        text, outside = self._log.newest(), self._log.outside()
        if text is None:
            return 0
        lines = note.parse_checkpoint(text).lines
        waiting = {name: url for name, url in self._log.places().items() if not any(line.is_by(outside[name]) for line in lines)}
        return sum(self._try(name, url, text) for name, url in waiting.items())

    def _try(self, name: str, url: str, text: str) -> bool:
        try:
            self._ask(name, url, text, again=True)
        except PumasiError as error:
            if self._said.get(name) != str(error):
                log.warning("the witness %s at %s does not cosign: %s", name, url, error)
            self._said[name] = str(error)
            return False
        self._said.pop(name, None)
        return True

    def _ask(self, name: str, url: str, text: str, *, again: bool) -> None:
        size, old = note.parse_checkpoint(text).size, self._known.get(name, 0)
        proof = self._log.site.tree.consistency_proof(old, size) if 0 < old < size else []
        body = "\n".join([f"old {old}", *map(b64, proof), "", text]).encode()
        answer = self._send(f"{url.rstrip('/')}/add-checkpoint", body)
        match answer.status:
            case 200:
                for line in answer.text.splitlines():
                    self._log.add_cosignature(size, line)
                self._known[name] = size
            case 409 if again and answer.kind.startswith("text/x.tlog.size"):
                self._known[name] = self._size(answer.text)
                if self._known[name] > size:
                    raise Tampered(f"it has cosigned a head over {self._known[name]} entries, and this hub has one over {size}")
                self._ask(name, url, text, again=False)
            case 422:
                raise Tampered("it says that the log did not only grow; compare its newest head with this hub's")
            case 403 | 404:
                raise Unreachable("it does not know this log, or not its present key; give it the line `log` of the policy")
            case _:
                raise Unreachable(f"it answers with status {answer.status}")

    @staticmethod
    def _size(text: str) -> int:
        if not (text.endswith("\n") and text[:-1].isdecimal()):
            raise Tampered("it says in no understandable way how far it has cosigned")
        return int(text)
