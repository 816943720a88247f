"""One job at one hospital, from the first handshake to a sealed result that all hospitals agree on.

1. shake hands    a one-time X25519 key of every hospital, signed with its node's key
2. share a key    drawn by the lead, sealed under each pair's key; the hub neither has it nor can put another in its place
3. ask            per question: compared with what was answered before (memory.py), then round after round a local share, masked,
                  sealed, sent; shares fetched and summed; limits judged on the sum
4. step           everybody computes the next state and names it with its share; at the end, or if they differ, the lead's is compared
5. finish         small cells suppressed over everything known; the lead sends the bytes; everybody compares; one digest
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

import rfc8785
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from pumasi.analysis import filter, refusal, secure, suppression
from pumasi.analysis.frame import Terms
from pumasi.analysis.methods import KINDS, Method, agree
from pumasi.analysis.refusal import Refusal
from pumasi.kernel.codes import FailReason
from pumasi.kernel.envelope import Keys, b64, new_salt, open_signed, parse_canonical, sha256, sign, unb64
from pumasi.kernel.errors import Invalid, PumasiError, Refused, Tampered
from pumasi.kernel.job import Handshake, Job
from pumasi.kernel.permit import columns_of
from pumasi.kernel.seal import derive, release_key, seal, unseal
from pumasi.kernel.study import AgreedTable, level_value
from pumasi.node.jobs.asked import Asked, LocalHalf
from pumasi.node.jobs.message import Message
from pumasi.node.jobs.questions import complete
from pumasi.node.remembered import Earlier

T = TypeVar("T")
MOST_ROUNDS = 200
ENDLESS = Refusal("no-convergence", "the analysis did not end within the rounds a job may take")
INTERNAL = ("implied_counts", "repeated_people", "said")  # of a result: what only the checks need


class Failed(PumasiError):
    """The job cannot go on at this hospital; `reason` goes into the log, the sentence into the node's own."""

    def __init__(self, reason: FailReason, *sentences: str, about: tuple[str, ...] = ()) -> None:
        super().__init__(*sentences)
        self.reason, self.about = reason, about


class OtherStep(Tampered):
    """The hospitals' shares of a round are not all for the same step."""


class Exchange(Protocol):
    """How a job talks to the same job at the other hospitals. `receive` raises `Failed` when somebody stays silent."""

    def send(self, label: str, data: bytes) -> None: ...
    def receive(self, label: str, sender: str | None = None) -> dict[str, bytes]: ...
    def trade(self, label: str, data: bytes) -> dict[str, bytes]:
        """Send, and receive from everybody."""
        ...


@dataclass(frozen=True)
class Party:
    """Who runs the job here, and by which public key it knows the others."""

    hospital: str
    keys: Keys
    members: dict[str, str]


@dataclass(frozen=True)
class Sealed:
    """The result as every hospital of the job holds it: the bytes to review, and this hospital's part of the key to them."""

    data: bytes
    digest: str
    release_share: bytes
    findings: list[str]
    known: list[dict[str, Any]]  # what later jobs of the project must treat as published
    asked: list[Earlier]  # what later jobs of the applicant's group are compared with


@dataclass
class Run:
    """One job in progress at one hospital."""

    job: Job
    digest: str  # of the signed job document
    party: Party
    tables: dict[str, AgreedTable]
    exchange: Exchange
    half: LocalHalf
    still_allowed: Callable[[], None]  # raises Failed("permit") once the permit has ended
    earlier: list[dict[str, Any]]  # results of this project that were released before
    remembered: list[Earlier] = field(default_factory=list)  # what the applicant's group was answered before
    hospitals_at_least: int = 1
    _asked: Asked = field(init=False)
    _key: bytes = b""
    _masks: secure.Masks | None = None
    _terms: Terms = field(init=False)

    def __post_init__(self) -> None:
        self._terms = Terms(smallest_cell=self.job.smallest_cell, hospitals=len(self.job.permits))
        self._asked = Asked(
            case=self.job.case, hospital=self.party.hospital, tables=self.tables, terms=self._terms, half=self.half,
            remembered=self.remembered, hospitals_at_least=self.hospitals_at_least, sum=self._sum,
        )  # fmt: skip

    @property
    def _leads(self) -> bool:
        return self.party.hospital == self.job.lead

    def run(self) -> Sealed:
        """All five steps; `Failed` with a reason for the log when the job must stop."""
        try:
            self._shake_hands()
            results: list[dict[str, Any]] = []
            for number, question in enumerate(self.job.questions):
                results.append(self._answer(number, question))
                self._asked.answered |= {number} if "refused" not in results[number] else set()
            return self._finish(results)
        except Tampered as error:
            raise Failed("tampered", *error.reasons) from error

    # --- 1 and 2 ---

    def _shake_hands(self) -> None:
        mine = X25519PrivateKey.generate()  # never used for another job, or the masks would repeat
        me, public = self.party.hospital, b64(mine.public_key().public_bytes_raw())
        hello = Handshake(job=self.job.job, hospital=me, document=self.digest, box=public)
        self.exchange.send("handshake", sign("handshake", hello.plain(), self.party.keys))
        heard = self.exchange.receive("handshake")
        try:
            boxes = {peer: self._handshake(peer, data) for peer, data in heard.items() if peer != me}
            pair_keys = {peer: secure.pair_key(mine, box, job=self.digest, me=me, peer=peer) for peer, box in boxes.items()}
        except (Invalid, Refused) as error:  # a field of another form, or a key of low order
            raise Tampered(*error.reasons) from error
        self._masks = secure.Masks(me, pair_keys)
        self._share_key({peer: derive(key, salt=b"", info="pumasi/job-key/v1") for peer, key in pair_keys.items()})

    def _share_key(self, wraps: dict[str, bytes]) -> None:
        """The job key, under keys that come from signed handshakes: only the lead can have sealed it, and only its reader opens it."""
        lead, me = self.job.lead, self.party.hospital
        context = self._context("key", lead)
        if self._leads:
            self._key = secrets.token_bytes(32)
            self.exchange.send("key", rfc8785.dumps({peer: b64(seal(wrap, self._key, context=context)) for peer, wrap in wraps.items()}))
            return
        sealed = parse_canonical(self.exchange.receive("key", lead)[lead])
        if not isinstance(sealed, dict) or not isinstance(sealed.get(me), str):
            raise Tampered("the lead node's message holds no key for this hospital")
        self._key = unseal(wraps[lead], unb64(sealed[me]), context=context)
        if len(self._key) != 32:
            raise Tampered("the lead node's key for this job has another length than a key")

    def _handshake(self, hospital: str, data: bytes) -> bytes:
        signed = open_signed("handshake", data)
        hello = Handshake.read(signed.body)
        if signed.key != self.party.members.get(hospital) or (hello.job, hello.hospital, hello.document) != (
            self.job.job,
            hospital,
            self.digest,
        ):
            raise Tampered(f"the handshake of {hospital} is not signed by its node, or is for another job")
        return unb64(hello.box, 32)

    def _context(self, label: str, sender: str) -> bytes:
        return f"{self.digest}|{label}|{sender}".encode()

    def _send(self, label: str, value: Any) -> None:
        plain = rfc8785.dumps(value)
        self.exchange.send(label, seal(self._key, plain, context=self._context(label, self.party.hospital)))

    def _receive(self, label: str, sender: str | None = None) -> dict[str, Any]:
        found = self.exchange.receive(label, sender)
        return {name: parse_canonical(unseal(self._key, data, context=self._context(label, name))) for name, data in found.items()}

    # --- 3 and 4 ---

    def _answer(self, number: int, asked: dict[str, Any]) -> dict[str, Any]:
        """One question, round after round; its result, or `refused` with the reasons."""
        table = self.tables[asked["table"]]
        question = complete(asked, table, hospitals=list(self.job.permits), here=self.party.hospital)
        head: dict[str, Any] = {key: question[key] for key in ("name", "kind", "table", "by") if key in question}
        if "filter" in question:
            head["where"] = filter.text(question["filter"])
        people = self.half.load(asked["table"], self._columns(asked["table"]))
        if reasons := self._asked.reasons(number, question, people):
            return {**head, "rounds": 0, **refusal.told(reasons)}
        method = KINDS[asked["kind"]]
        state: dict[str, Any] = method.start(question, self._terms)
        for count in range(1, MOST_ROUNDS + 1):
            self.still_allowed()
            label = f"q{number}r{count}"
            try:
                total, reasons = self._round(label, method, question, state)
            except OtherStep:  # if only in the last digit of a logarithm: everybody goes on from the lead's
                state = self._agree_on(f"q{number}r{count - 1}", state)
                total, reasons = self._round(f"{label}b", method, question, state)
            if reasons:
                return {**head, "rounds": count, **refusal.told(reasons)}
            state = meant(partial(method.advance, total, question, state, self._terms))
            if state["step"] == "done":
                state = self._agree_on(label, state)
                outcome = state["result"] if "result" in state else refusal.told(refusal.read(state))
                return {**head, "rounds": count, **self._told(number, question, outcome)}
        return {**head, "rounds": MOST_ROUNDS, **refusal.told([ENDLESS])}

    def _round(self, label: str, method: Method, question: dict[str, Any], state: dict[str, Any]) -> tuple[list[float], list[Refusal]]:
        def mine() -> list[float]:
            if label.endswith("r1") and (reasons := self._asked.elsewhere(question)):
                raise Refused(*reasons)
            return self.half.local(question, state)

        def judge(total: list[float]) -> list[Refusal]:
            return meant(partial(method.refusals, total, question, state, self._terms))

        return self._sum(label, mine, judge, under=_digest(state))

    def _columns(self, table: str) -> set[str]:
        """All that this job reads of a table, and what earlier questions of the case read, which its own are compared with."""
        asked = [columns_of(question) for question in self.job.questions if question["table"] == table]
        before = [set(one.columns) for one in self.remembered if one.case == self.job.case and one.question["table"] == table]
        return set().union(*asked, *before)

    def _told(self, number: int, question: dict[str, Any], outcome: dict[str, Any]) -> dict[str, Any]:
        """The outcome of a question. Edges that the data chose are compared before they are told, and remembered."""
        if "edges" not in outcome or "edges" in question:
            return outcome
        found = question | {"edges": outcome["edges"], "found": True}
        if reasons := self._asked.reasons(number, found, self._asked.mine[number].people):
            return refusal.told(reasons)
        return outcome

    @property
    def opened(self) -> list[Earlier]:
        """The questions of which sums were opened, as they stand when the job stops."""
        return list(self._asked.mine.values())

    def _sum(
        self, label: str, local: Callable[[], list[float]], judge: Callable[[list[float]], list[Refusal]], *, under: str = ""
    ) -> tuple[list[float], list[Refusal]]:
        """The sum of this round over all hospitals, or the reasons why it may not be used or one of them could not take part in it.

        `OtherStep`, and nothing is opened, where a hospital's share is not for the step `under`.
        """
        values, reasons = self._own_share(local, judge)
        assert self._masks is not None  # made by the handshake
        mine = Message(under, secure.pack(self._masks.mask(values, round=label)) if not reasons else b"", reasons)
        sealed = seal(self._key, mine.written(), context=self._context(label, self.party.hospital))
        heard = self.exchange.trade(label, sealed)
        messages = [Message.read(unseal(self._key, data, context=self._context(label, name))) for name, data in heard.items()]
        if any(one.under != under for one in messages):
            raise OtherStep("a hospital does not go on from the step that all agreed on")
        refused = refusal.united(one.reasons for one in messages)
        if refused:
            return [], refused
        total = secure.decode(secure.add(secure.unpack(one.share, len(values)) for one in messages))
        return total, judge(total)

    def _own_share(
        self, local: Callable[[], list[float]], judge: Callable[[list[float]], list[Refusal]]
    ) -> tuple[secure.Elements, list[Refusal]]:
        """The own share, encoded but not masked, or why there is none."""
        try:
            share = local()
            values = secure.encode(share, hospitals=self._terms.hospitals)
        except Refused as refused:
            return secure.Elements.of([]), refusal.typed(refused)
        # Between one or two hospitals a mask hides nothing: whoever knows its own share knows the other's.
        return values, judge(share) if self._terms.hospitals <= 2 else []

    def _agree_on(self, label: str, mine: dict[str, Any]) -> dict[str, Any]:
        """The lead's next state, after comparing it with one's own."""
        if self._leads:
            self._send(f"{label}s", mine)
            return dict(parse_canonical(rfc8785.dumps(mine)))  # as the others read it: what is whole is no float any more
        theirs: Any = self._receive(f"{label}s", self.job.lead)[self.job.lead]
        if not isinstance(theirs, dict) or not agree(mine, theirs):
            raise Failed("disagreement", "the step that the lead node sent is not the one that follows from the sum")
        return theirs

    # --- 5 ---

    def _finish(self, results: list[dict[str, Any]]) -> Sealed:
        levels = {(table, name): column.levels for table, agreed in self.tables.items() for name, column in agreed.columns.items()}
        repeated = any(result.get("repeated_people") or result.get("rows", result.get("n")) != result.get("n") for result in results)
        safe = suppression.protect(
            results, earlier=self.earlier, levels=levels, smallest_cell=self.job.smallest_cell, repeated_people=repeated
        )
        mine: dict[str, Any] = {
            "format": "pumasi result v1",
            "case": self.job.case,
            "job": self.job.job,
            "salt": new_salt(),
            "smallest_cell": self.job.smallest_cell,
            "analyses": [self._public(result) for result in safe],
        }
        if self._leads:
            self._send("result", mine)
            agreed = mine
        else:
            agreed = self._receive("result", self.job.lead)[self.job.lead]
            salted = isinstance(agreed, dict) and re.fullmatch("[0-9a-f]{64}", str(agreed.get("salt")))  # the log shows the digest to all
            if not salted or not agree(mine | {"salt": ""}, agreed | {"salt": ""}):
                raise Failed("disagreement", "the result that the lead node sent is not the one that follows from the sums")
        data = rfc8785.dumps(agreed)
        digest = sha256(data)
        if self._leads:
            self.exchange.send("release-output", seal(self._release_key(digest), data, context=digest.encode()))
        return Sealed(
            data, digest, self._release_share(digest, self.party.hospital), suppression.findings(results, safe), safe, self._asked.all
        )

    def _public(self, result: dict[str, Any]) -> dict[str, Any]:
        """A result as its reader sees it: the hospitals that took part, levels as values, nothing that only the checks needed."""
        hospitals = sorted(self.job.permits)
        if result["kind"] == "table" and "cells" in result:
            columns = self.tables[result["table"]].columns
            cells = [
                {key: value if key == "n" else level_value(value, columns[key].kind) for key, value in cell.items()}
                for cell in result["cells"]
            ]
            result = {**result, "cells": cells}
        if "refused" not in result:
            result = KINDS[result["kind"]].finish(result)
        return {key: value for key, value in {**result, "hospitals": hospitals}.items() if key not in INTERNAL}

    def _release_share(self, digest: str, hospital: str) -> bytes:
        """One hospital's part of the key to the released bytes; each sends only its own, and only after its airlock has released."""
        return hmac.digest(self._key, f"release|{digest}|{hospital}".encode(), "sha256")

    def _release_key(self, digest: str) -> bytes:
        return release_key({hospital: self._release_share(digest, hospital) for hospital in self.job.permits}, digest)


def _digest(state: dict[str, Any]) -> str:
    """What names a step. Canonical JSON would name it as well, in three times the time: one code writes one number alike everywhere."""
    return sha256(json.dumps(state, sort_keys=True, allow_nan=False).encode())


def meant(step: Callable[[], T]) -> T:
    """What a step makes of a sum. Where it can make nothing of it, a share was none that data can give."""
    try:
        return step()
    except (ArithmeticError, ValueError, LookupError) as error:
        raise Tampered("the hospitals' shares add up to numbers that no data can give: one of them is wrong") from error
