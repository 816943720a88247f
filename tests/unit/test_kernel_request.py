"""A signed request is about one method, one address, one body and one moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pumasi.kernel.envelope import Keys, b64, sign
from pumasi.kernel.errors import Invalid, Tampered
from pumasi.kernel.request import WINDOW, check, header

KEYS = Keys.new()
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ASKED = {"method": "POST", "target": "/events?after=3", "body": b"{}"}


def signed() -> str:
    return header(KEYS, author="haneul", method="POST", target="/events?after=3", body=b"{}", now=NOW)


@pytest.mark.parametrize("late", [-WINDOW, timedelta(0), WINDOW])
def test_author_and_key_of_a_request(late: timedelta) -> None:
    assert check(signed(), method="POST", target="/events?after=3", body=b"{}", now=NOW + late) == ("haneul", KEYS.public)


@pytest.mark.parametrize(
    "change", [{"method": "GET"}, {"target": "/events?after=4"}, {"target": "/events"}, {"body": b""}, {"body": b"{} "}]
)
def test_the_header_is_for_this_request(change: dict[str, object]) -> None:
    with pytest.raises(Tampered, match="the signature is for another request"):
        check(signed(), **{**ASKED, **change}, now=NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize("late", [WINDOW + timedelta(seconds=1), -WINDOW - timedelta(seconds=1), timedelta(days=365)])
def test_a_request_grows_old(late: timedelta) -> None:
    with pytest.raises(Tampered, match="set the clock of one of the two machines"):
        check(signed(), method="POST", target="/events?after=3", body=b"{}", now=NOW + late)


def test_another_signed_document_is_no_request() -> None:
    with pytest.raises(Tampered):
        check(b64(sign("event", {}, KEYS)), method="GET", target="/", body=b"", now=NOW)
    with pytest.raises(Invalid):
        check(b64(sign("request", {}, KEYS)), method="GET", target="/", body=b"", now=NOW)
    with pytest.raises(Tampered):
        check("not base64", method="GET", target="/", body=b"", now=NOW)
