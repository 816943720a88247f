"""A signed request is about one method, one address, one body and one moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pumasi.kernel.envelope import Keys, b64, sha256, sign
from pumasi.kernel.errors import Invalid, Tampered
from pumasi.kernel.request import WINDOW, check, header
from pumasi.store.hubname import hub_name

KEYS = Keys.new()
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HUB = sha256(b"certificate")
ASKED = {"hub": HUB, "method": "POST", "target": "/events?after=3", "body": b"{}"}


def signed() -> str:
    return header(KEYS, author="haneul", hub=HUB, method="POST", target="/events?after=3", body=b"{}", now=NOW)


@pytest.mark.parametrize("late", [-WINDOW, timedelta(0), WINDOW])
def test_author_and_key_of_a_request(late: timedelta) -> None:
    asker = check(signed(), **ASKED, now=NOW + late)  # type: ignore[arg-type]
    assert (asker.author, asker.key, asker.until) == ("haneul", KEYS.public, NOW + WINDOW)


@pytest.mark.parametrize(
    "change", [{"method": "GET"}, {"target": "/events?after=4"}, {"target": "/events"}, {"body": b""}, {"body": b"{} "}]
)
def test_the_header_is_for_this_request(change: dict[str, object]) -> None:
    with pytest.raises(Tampered, match="the signature is for another request"):
        check(signed(), **{**ASKED, **change}, now=NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize("late", [WINDOW + timedelta(seconds=1), -WINDOW - timedelta(seconds=1), timedelta(days=365)])
def test_a_request_grows_old(late: timedelta) -> None:
    with pytest.raises(Tampered, match="set the clock of one of the two machines"):
        check(signed(), **ASKED, now=NOW + late)  # type: ignore[arg-type]


def test_another_signed_document_is_no_request() -> None:
    with pytest.raises(Tampered):
        check(b64(sign("event", {}, KEYS)), hub=HUB, method="GET", target="/", body=b"", now=NOW)
    with pytest.raises(Invalid):
        check(b64(sign("request", {}, KEYS)), hub=HUB, method="GET", target="/", body=b"", now=NOW)
    with pytest.raises(Tampered):
        check("not base64", hub=HUB, method="GET", target="/", body=b"", now=NOW)


def test_a_request_is_for_one_hub() -> None:
    with pytest.raises(Tampered, match="signed for another hub"):
        check(signed(), **{**ASKED, "hub": sha256(b"another")}, now=NOW)  # type: ignore[arg-type]


def test_no_two_requests_are_the_same() -> None:
    one, two = (check(signed(), **ASKED, now=NOW) for _ in range(2))  # type: ignore[arg-type]
    assert one.digest != two.digest


def test_a_hub_is_named_by_the_first_certificate_of_its_file() -> None:
    pem = "-----BEGIN CERTIFICATE-----\nAAEC\nAwQF\n-----END CERTIFICATE-----\n"
    assert hub_name(pem) == hub_name(f"a comment\n{pem}{pem.replace('AAEC', 'BBBB')}") == sha256(bytes(range(6)))
    for bad in (
        "nothing",
        "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nAAE=C\n-----END CERTIFICATE-----\n",
    ):
        with pytest.raises(Invalid, match="no certificate in PEM"):
            hub_name(bad)
