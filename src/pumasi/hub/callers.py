"""Who asks: proven by the signature on a request, which is for this hub, this request and this moment, and counts once.

And how many requests of one party may wait for news at the same time, so that nobody can hold every thread of the hub.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from pumasi.kernel import request as signed_request
from pumasi.kernel.errors import Invalid, Tampered
from pumasi.store.hubname import hub_name
from pumasi.store.once import Once
from pumasi.store.site import Site, utc_now

MAX_WAIT = 25.0
STRANGERS, STRANGER = 64, 8  # requests without a signature that may wait: all together, and from one address
PARTIES, PARTY = 300, 48  # signed ones: all together, and of one party


@dataclass(frozen=True)
class Caller:
    """Who asks, proven by signature, and the bytes they sent."""

    id: str
    body: bytes


@dataclass(frozen=True)
class Asked:
    """One HTTP request: what is signed of it, and where it came from."""

    method: str
    target: str
    body: bytes
    header: str | None
    address: str


class Seats:
    """So many may wait at once, and so many of them for one party. Whoever finds no seat is answered at once with what there is."""

    def __init__(self, *, total: int, each: int) -> None:
        self._total, self._each, self._taken, self._lock = total, each, Counter[str](), Lock()

    @contextmanager
    def seat(self, who: str) -> Iterator[bool]:
        with self._lock:
            free = self._taken.total() < self._total and self._taken[who] < self._each
            self._taken[who] += free
        try:
            yield free
        finally:
            with self._lock:
                self._taken[who] -= free
                if not self._taken[who]:
                    del self._taken[who]


@dataclass
class Callers:
    """Everybody who may ask, as the log knows them now."""

    site: Site
    home: Path
    started: float = field(default_factory=time.monotonic)
    heard: dict[str, float] = field(default_factory=dict)  # when each party last asked for something
    strangers: Seats = field(default_factory=lambda: Seats(total=STRANGERS, each=STRANGER))
    parties: Seats = field(default_factory=lambda: Seats(total=PARTIES, each=PARTY))

    def __post_init__(self) -> None:
        self._hub = hub_name((self.home / "hub.crt").read_text(encoding="utf-8"))
        self._once = Once(self.home / "requests.db")

    def authenticate(self, asked: Asked) -> Caller:
        """`Tampered` unless a member or one of its people has signed this request for this hub, and sends it for the first time."""
        if asked.header is None:
            raise Tampered("this request must be signed by a member or one of its people")
        now = utc_now()
        signed = signed_request.check(asked.header, hub=self._hub, method=asked.method, target=asked.target, body=asked.body, now=now)
        world = self.site.world
        member = world.members.get(signed.author)
        known = world.people.get(signed.author) or (member if member and member.admitted else None)
        if known is None or known.key != signed.key:
            raise Tampered(f"'{signed.author}' is not known here with this key; an applicant becomes known when it is admitted")
        if not self._once.first(signed.digest, until=signed.until, now=now):
            raise Tampered("this very request was answered before; sign a new one")
        self.heard[signed.author] = time.monotonic()
        return Caller(signed.author, asked.body)

    @contextmanager
    def waiting(self, asked: Asked, seconds: float) -> Iterator[float]:
        """How long this request may wait for news: nothing when too many of whoever sends it are waiting already."""
        if seconds <= 0:
            yield 0.0
            return
        try:
            who, seats = self.authenticate(asked).id, self.parties
        except (Tampered, Invalid):  # the log is public: whoever is not known is not refused
            who, seats = asked.address, self.strangers
        with seats.seat(who) as free:
            yield min(seconds, MAX_WAIT) if free else 0.0

    @contextmanager
    def seated(self, party: str, seconds: float) -> Iterator[float]:
        """The same for a party that is known."""
        if seconds <= 0:
            yield 0.0
            return
        with self.parties.seat(party) as free:
            yield min(seconds, MAX_WAIT) if free else 0.0

    def silent(self, party: str) -> int:
        """Seconds since a party asked for anything."""
        return round(time.monotonic() - self.heard.get(party, self.started))
