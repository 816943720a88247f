"""How a party proves who it is to the hub: each HTTP request carries a signed statement of what it asks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pumasi.kernel.envelope import Keys, b64, open_signed, sha256, sign, unb64
from pumasi.kernel.errors import Tampered
from pumasi.kernel.model import Hash, Instant, MemberId, Model, PersonId

HEADER = "Pumasi-Request"
WINDOW = timedelta(minutes=5)  # how far the clocks of two parties may differ


class Request(Model):
    author: MemberId | PersonId
    method: str
    target: str  # path and query
    body: Hash
    at: Instant


def header(keys: Keys, *, author: str, method: str, target: str, body: bytes, now: datetime) -> str:
    """The header value for one request."""
    request = Request(author=author, method=method, target=target, body=sha256(body), at=now.strftime("%Y-%m-%dT%H:%M:%SZ"))
    return b64(sign("request", request.plain(), keys))


def check(value: str, *, method: str, target: str, body: bytes, now: datetime) -> tuple[str, str]:
    """Author and key of a request; `Tampered` when the header is not about this request or not of this time."""
    signed = open_signed("request", unb64(value))
    request = Request.read(signed.body)
    at = datetime.strptime(request.at, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    if (request.method, request.target, request.body) != (method, target, sha256(body)):
        raise Tampered("the signature is for another request")
    if abs(now - at) > WINDOW:
        raise Tampered("the request was signed more than five minutes from now; set the clock of one of the two machines")
    return request.author, signed.key
