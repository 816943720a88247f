"""How a party proves who it is to the hub: each HTTP request carries a signed statement of what it asks, and of whom.

The hub is named by its TLS certificate, which every party pins from the first day: no other hub can use the request. A number that
was never used before lets the hub answer it once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pumasi.kernel.envelope import Keys, b64, new_id, open_signed, sha256, sign, unb64
from pumasi.kernel.errors import Tampered
from pumasi.kernel.model import Hash, Instant, MemberId, Model, PersonId, RandomId

HEADER = "Pumasi-Request"
WINDOW = timedelta(minutes=5)  # how far the clocks of two parties may differ


class Request(Model):
    author: MemberId | PersonId
    hub: Hash
    method: str
    target: str  # path and query
    body: Hash
    at: Instant
    number: RandomId


@dataclass(frozen=True)
class Asker:
    """Who has signed a request, with which key, and until when the same one would be accepted again."""

    author: str
    key: str
    digest: str
    until: datetime


def header(keys: Keys, *, author: str, hub: str, method: str, target: str, body: bytes, now: datetime) -> str:
    """The header value for one request."""
    at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    request = Request(author=author, hub=hub, method=method, target=target, body=sha256(body), at=at, number=new_id())
    return b64(sign("request", request.plain(), keys))


def check(value: str, *, hub: str, method: str, target: str, body: bytes, now: datetime) -> Asker:
    """Who has signed this; `Tampered` when the header is not about this request, not for this hub or not of this time."""
    signed = open_signed("request", unb64(value))
    request = Request.read(signed.body)
    at = datetime.strptime(request.at, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    if (request.method, request.target, request.body) != (method, target, sha256(body)):
        raise Tampered("the signature is for another request")
    if request.hub != hub:
        raise Tampered("the request is signed for another hub; copy hub.crt from the coordinating body again")
    if abs(now - at) > WINDOW:
        raise Tampered("the request was signed more than five minutes from now; set the clock of one of the two machines")
    return Asker(request.author, signed.key, signed.digest, at + WINDOW)
