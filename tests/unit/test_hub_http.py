"""Who may ask the hub for what, over real HTTPS; and that whatever is sent, the answer is a result or reasons."""

from __future__ import annotations

import json
import queue
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from pumasi.hub import governance
from pumasi.hub.app import make_app, open_hub
from pumasi.hub.callers import Seats
from pumasi.hub.http import MAX_BODY
from pumasi.hub.readers import OTHERS
from pumasi.kernel import event as ev
from pumasi.kernel import request
from pumasi.kernel.envelope import Keys, b64, canonical, new_id, sha256, sign, unb64
from pumasi.kernel.errors import NotFound, PumasiError, Refused, Tampered
from pumasi.kernel.event import CONSORTIUM
from pumasi.ledger import bundle, note, verify
from pumasi.store.document import Document
from pumasi.store.hubname import hub_name
from pumasi.store.mail import unpacked
from pumasi.store.once import SWEEP, Once
from tests.casebook import COORDINATOR, HOSPITALS, ORIGIN, RESEARCHER, STEPS, Casebook, play
from tests.live_hub import DescribedBook, LiveHub

Live = Callable[[Casebook], LiveHub]
OUTSIDE = "한밭 병원"  # a hospital of the consortium that takes no part in the case


def reasons(response: httpx.Response) -> list[str]:
    """The sentences of an answer that is no result."""
    assert 400 <= response.status_code < 500, (response.request.method, response.request.url, response.status_code)
    found: list[str] = response.json()["reasons"]
    assert found and all(isinstance(reason, str) and reason for reason in found)
    return found


def signed(hub: LiveHub, author: str, method: str, target: str, body: bytes = b"", /, **changes: Any) -> httpx.Response:
    """One request with a header about (perhaps) something else."""
    name = hub_name((hub.home / "hub.crt").read_text())
    fields: dict[str, Any] = {"author": author, "hub": name, "method": method, "target": target, "body": body, "now": datetime.now(UTC)}
    header = request.header(changes.pop("keys", hub.book.keys_of(author)), **(fields | changes))
    return hub.plain().request(method, target, content=body, headers={request.HEADER: header})


PUBLIC = {
    ("GET", "/"), ("GET", "/log"), ("GET", "/checkpoint"), ("GET", "/policy"), ("GET", "/gossip"), ("GET", "/openapi.json"),
    ("POST", "/events"), ("POST", "/cosignatures/{size}"), ("GET", "/handover"),
}  # fmt: skip
VALUES = {"commitment": "0" * 64, "case": "0" * 32, "job": "0" * 32, "label": "q0r1"}


# --- who asks


def test_every_route_but_the_public_log_asks_for_a_signature(live: Live) -> None:
    hub = live(play(until="opened"))
    client = hub.plain()
    private = {(method, route.path) for route in all_routes(hub) for method in route.methods - {"HEAD"}} - PUBLIC
    assert len(private) >= 13
    for method, path in private:
        target = path.format(**VALUES)
        response = client.request(method, target)
        assert response.status_code == 401 and "must be signed" in reasons(response)[0], (method, target)


def all_routes(hub: LiveHub) -> list[Any]:
    app: Any = hub.server.app
    return [route for route in app.routes if hasattr(route, "methods") and not route.path.startswith(("/tlog", "/verify"))]


def test_a_signature_that_is_not_this_partys_for_this_request_now_is_refused(live: Live) -> None:
    hub = live(play(until="datasets"))
    now = datetime.now(UTC)
    assert signed(hub, RESEARCHER, "GET", "/catalogue").status_code == 200
    wrongs: list[dict[str, Any]] = [
        {"keys": Keys.new()}, {"now": now - timedelta(minutes=6)}, {"now": now + timedelta(minutes=7)}, {"method": "POST"},
        {"target": "/members"}, {"target": "/catalogue?x=1"}, {"body": b"x"}, {"author": COORDINATOR}, {"author": "nobody@nowhere"},
        {"author": "river-hospital"},
    ]  # fmt: skip
    for changes in wrongs:
        assert signed(hub, RESEARCHER, "GET", "/catalogue", **changes).status_code == 401, changes


def test_a_header_that_is_no_signature_is_refused_in_words(live: Live) -> None:
    hub = live(play(until="members"))
    nested, empty = b64(b"[" * 9000), b64(canonical({"body": {}, "key": "", "sig": ""}))
    for header in ("", "x", "====", "{}", "A" * 9000, b64(b"{}"), b64(b"\xff" * 90), nested, empty):
        reasons(hub.plain().get("/members", headers={request.HEADER: header}))


def test_a_header_with_other_fields_or_of_another_kind_is_refused(live: Live) -> None:
    hub = live(play(until="members"))
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    name = hub_name((hub.home / "hub.crt").read_text())
    fields = {"author": "company-1", "hub": name, "method": "GET", "target": "/members", "body": sha256(b""), "at": now, "number": new_id()}
    keys = hub.book.keys_of("company-1")
    good = b64(sign("request", fields, keys))
    assert hub.plain().get("/members", headers={request.HEADER: good}).status_code == 200
    bad = [sign("job", fields, keys)]
    bad += [
        sign("request", body, keys) for body in ({**fields, "x": 1}, {**fields, "at": 5}, {**fields, "author": ["company-1"]}, [fields])
    ]
    bad += [sign("request", {**fields, "at": at}, keys) for at in ("2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z", now[:-1], "")]
    for one in bad:
        reasons(hub.plain().get("/members", headers={request.HEADER: b64(one)}))


def test_who_has_only_applied_is_nobody_yet(live: Live) -> None:
    """Anybody may apply, so an application must not open the catalogue, the documents or the disk."""
    book = play(until="opened")
    book.apply_only("stranger", "company")
    hub = live(book)
    stranger = hub.channel("stranger")
    document = Document.new({"filling": "the disk"})
    for ask in (
        lambda: stranger.get("/catalogue"),
        lambda: stranger.get(f"/documents/{book.applied}"),
        lambda: stranger.put(f"/documents/{document.commitment}", document.data),
        lambda: stranger.get(f"/cases/{book.case}"),
    ):
        with pytest.raises(Tampered, match="becomes known when it is admitted"):
            ask()
    hub.hub.log.record(ev.MemberAdmitted, case=CONSORTIUM, member="stranger")
    assert stranger.get("/members").json()["stranger"]["admitted"] is True


def test_a_request_is_answered_once_and_by_one_hub(live: Live, tmp_path: Path) -> None:
    """Whoever reads a request, the hub itself included, can send it again neither here, nor after a restart, nor to another hub."""
    hub = live(play(until="datasets"))
    name = hub_name((hub.home / "hub.crt").read_text())
    fields: dict[str, Any] = {"author": RESEARCHER, "method": "GET", "target": "/catalogue", "body": b"", "now": datetime.now(UTC)}
    header = {request.HEADER: request.header(hub.book.keys_of(RESEARCHER), hub=name, **fields)}
    assert hub.plain().get("/catalogue", headers=header).status_code == 200
    again = hub.plain().get("/catalogue", headers=header)
    assert (again.status_code, reasons(again)) == (401, ["this very request was answered before; sign a new one"])
    hub.reopen()
    assert hub.plain().get("/catalogue", headers=header).status_code == 401
    elsewhere = {request.HEADER: request.header(hub.book.keys_of(RESEARCHER), hub=sha256(b"another"), **fields)}
    assert "signed for another hub" in reasons(hub.plain().get("/catalogue", headers=elsewhere))[0]


def test_what_is_remembered_of_requests_is_forgotten_when_they_are_too_old(tmp_path: Path) -> None:
    once, now = Once(tmp_path / "requests.db"), datetime(2026, 3, 2, tzinfo=UTC)
    other = Once(tmp_path / "requests.db")  # another process
    for number in range(SWEEP):
        assert (once, other)[number % 2].first(sha256(b"%d" % number), until=now + timedelta(minutes=5), now=now)
    assert not other.first(sha256(b"7"), until=now + timedelta(minutes=5), now=now)
    later = now + timedelta(hours=1)
    for number in range(SWEEP):
        once.first(sha256(b"later %d" % number), until=later + timedelta(minutes=5), now=later)
    assert once.first(sha256(b"7"), until=later, now=later), "it would be refused for its age"
    once.close()
    other.close()


def test_nobody_holds_every_thread_by_waiting(live: Live) -> None:
    hub = live(play(until="datasets"))
    seats = Seats(total=3, each=2)
    with seats.seat("a") as one, seats.seat("a") as two, seats.seat("a") as three, seats.seat("b") as four, seats.seat("c") as five:
        assert [one, two, three, four, five] == [True, True, False, True, False]
    with seats.seat("a") as one, seats.seat("a") as two:
        assert one and two
    hub.hub.callers.strangers = Seats(total=8, each=2)
    book, size, answers = hub.book, len(hub.book.log), queue.SimpleQueue[list[str]]()
    clients = [hub.plain() for _ in range(5)]

    def wait(client: httpx.Client) -> None:
        answers.put(client.get(f"/log?start={size}&seen={size}&wait=60", timeout=90).json()["entries"])

    waiting = [threading.Thread(target=wait, args=(client,)) for client in clients]
    for thread in waiting:
        thread.start()
    assert [answers.get(timeout=30) for _ in range(3)] == [[]] * 3, "two of one address wait, the others are answered with what there is"
    assert sum(thread.is_alive() for thread in waiting) >= 2 and answers.empty()
    book.person(f"drb-8@{book.hospitals[0]}", "drb")
    hub.plain().post("/events", content=b64(book.log[size]))
    hub.hub.log.publish()
    for thread in waiting:
        thread.join(timeout=30)
    assert [answers.get_nowait() for _ in range(2)] == [[b64(book.log[size])]] * 2


# --- the public log


def test_the_log_is_served_in_pages_to_anybody_and_is_the_log(live: Live) -> None:
    book = play(until="closed")
    hub = live(book)
    client = hub.plain()
    whole = client.get("/log?start=0").json()
    assert [unb64(entry) for entry in whole["entries"]] == book.log
    assert client.get(f"/log?start={len(book.log) - 2}").json()["entries"] == whole["entries"][-2:]
    assert client.get(f"/log?start={len(book.log)}").json()["entries"] == []
    assert note.parse_checkpoint(whole["checkpoint"]).root == book.tree.root()
    about = client.get("/").json()
    assert about == {"origin": ORIGIN, "name": COORDINATOR, "size": len(book.log), "cosigners": 5}


def test_a_reader_is_woken_by_news(live: Live) -> None:
    book = play(until="datasets")
    hub, size = live(book), len(book.log)
    found: list[Any] = []
    target = f"/log?start={size}&seen={size}&wait=1e300"  # far more than the hub lets anybody wait
    reader = threading.Thread(target=lambda: found.append(hub.plain().get(target, timeout=20).json()))
    reader.start()
    time.sleep(0.2)
    assert found == []
    for name in ("drb-8", "drb-9"):
        book.person(f"{name}@{book.hospitals[0]}", "drb")
    posted = hub.plain().post("/events", content=" ".join(map(b64, book.log[size:])))
    assert posted.json() == [{"index": size, "reasons": []}, {"index": size + 1, "reasons": []}]
    assert hub.plain().get(f"/log?start={size}").json()["entries"] == [], "no signed head covers them yet"
    hub.hub.log.publish()
    reader.join(timeout=10)
    assert [unb64(entry) for entry in found[0]["entries"]] == book.log[size:]


def test_an_event_that_the_rules_refuse_gets_its_reasons(live: Live) -> None:
    book = play(until="datasets")
    hub = live(book)
    entry = book.entry(ev.MemberAdmitted, "company-1", case=CONSORTIUM, member="company-2")
    (answer,) = hub.plain().post("/events", content=b64(entry.data)).json()
    assert answer["index"] is None and answer["reasons"] == [
        "MemberAdmitted is for the coordinator, and 'company-1' is not",
        "'company-2' is a member already",
    ]
    assert hub.plain().post("/events", content=b"").json() == []


def test_cosignatures_come_in_and_make_a_head_final(live: Live) -> None:
    book = play(until="datasets")
    hub = live(book)
    client = hub.plain()
    assert "no checkpoint over these entries" in reasons(client.get("/checkpoint"))[0]
    text = client.get("/log?start=0").json()["checkpoint"]
    for member in list(HOSPITALS)[:4]:
        line = note.cosign(text, note.cosigner_name(ORIGIN, member), key=book.cosigners[member], time=1_800_000_000)
        for _ in range(2):  # an answer may be lost, so it is sent again
            assert client.post(f"/cosignatures/{len(book.log)}", content=line.encode()).status_code == 200
    final = client.get(f"/checkpoint?covering={len(book.log)}&wait=5").text
    assert note.Policy.parse(client.get("/policy").text).satisfied(final) == []
    assert reasons(client.get(f"/checkpoint?covering={len(book.log) + 1}"))


# --- members, documents, cases


def test_only_the_coordinating_body_admits(live: Live) -> None:
    book = play(until="people")
    book.apply_only("company-9", "company")
    hub = live(book)
    for who in ("platform", "river-hospital", RESEARCHER, f"steward@{book.hospitals[0]}"):
        with pytest.raises(Refused, match="the coordinating body admits members"):
            hub.channel(who).post("/admissions", b"company-9")
    coordinator = hub.channel(COORDINATOR)
    coordinator.post("/admissions", b"company-9")
    assert hub.hub.site.world.members["company-9"].admitted
    for name, error in (
        (b"company-9", Refused),
        (b"nobody", Refused),
        (b"\xff\xfe", PumasiError),
        (b"a@b", PumasiError),
        (b"", PumasiError),
    ):
        with pytest.raises(error):
            coordinator.post("/admissions", name)


def test_a_document_is_kept_only_under_its_own_commitment(live: Live) -> None:
    hub = live(play(until="people"))
    channel = hub.channel(RESEARCHER)
    document, other = Document.new({"title": "연구"}), Document.new({"title": "연구"})
    channel.put(f"/documents/{document.commitment}", document.data)
    assert hub.hub.site.document(document.commitment) == document
    with pytest.raises(NotFound, match="commits to no such document"):
        channel.get(f"/documents/{document.commitment}")  # whose it is shows only when an event commits to it
    with pytest.raises(Tampered, match="not the one that the log commits to"):
        channel.put(f"/documents/{other.commitment}", document.data)
    with pytest.raises(NotFound):
        hub.hub.site.document(other.commitment)


def test_a_document_is_for_the_parties_of_its_case(live: Live) -> None:
    book = play()
    hub, case = live(book), book.case
    here, elsewhere = book.hospitals[0], next(name for name in HOSPITALS if name not in book.hospitals)
    parties = [RESEARCHER, here, f"drb-0@{here}", f"steward@{here}", f"checker-0@{here}", COORDINATOR]
    others = ["other@company-2", "company-1", elsewhere, f"drb-0@{elsewhere}"]
    commitments = bundle.select(case, enumerate(book.log))[1]
    assert len(commitments) > 9
    for commitment in commitments:
        for who in parties[:2]:
            assert signed(hub, who, "GET", f"/documents/{commitment}").status_code == 200
        refused = signed(hub, others[0], "GET", f"/documents/{commitment}")
        assert (refused.status_code, refused.json()["reasons"]) == (409, [OTHERS])
    for who in parties:
        assert signed(hub, who, "GET", f"/documents/{commitments[0]}").status_code == 200
        assert signed(hub, who, "GET", f"/cases/{case}/bundle").status_code in (200, 404)  # 404: nobody has cosigned it here
    for who in others:
        assert signed(hub, who, "GET", f"/documents/{commitments[0]}").status_code == 409
        assert signed(hub, who, "GET", f"/cases/{case}/bundle").status_code == 409
    assert signed(hub, others[0], "GET", f"/documents/{'ab' * 32}").status_code == 404


def test_naming_anothers_document_in_an_event_of_ones_own_opens_nothing(live: Live) -> None:
    book = play(until="submitted")
    hub = live(book)
    stolen = book.applied
    fields = {"application": stolen, "hospitals": [book.hospitals[0]], "smallest_cell": 10, "case": "ab" * 16}
    book.say(ev.ApplicationSubmitted, "other@company-2", **fields)
    assert not any(hub.hub.site.extend(book.log))
    assert signed(hub, RESEARCHER, "GET", f"/documents/{stolen}").status_code == 200
    assert signed(hub, "other@company-2", "GET", f"/documents/{stolen}").status_code == 409


def test_a_datasets_description_is_for_every_member(live: Live) -> None:
    book = DescribedBook()
    for step in STEPS[: STEPS.index("datasets") + 1]:
        getattr(book, step)()
    hub = live(book)
    for commitment in hub.book.world.datasets.values():
        assert signed(hub, "other@company-2", "GET", f"/documents/{commitment}").status_code == 200


NO_DOCUMENTS = [
    b"", b"{", b"\xff", b"[]", b"{}", b"null", b"NaN", b'{"body":1,"salt":"zz"}', b'{"body":1,"salt":5}', b'{"body":1,"salt":""}',
    b'{"body":1,"body":2,"salt":"00"}', b'{"body":NaN,"salt":"' + b"0" * 64 + b'"}', b'{"salt":"' + b"0" * 64 + b'","body":1}',
    b'{"body":' + b"[" * 5000 + b"]" * 5000 + b',"salt":"' + b"0" * 64 + b'"}', b'{"body":"\\ud800","salt":"' + b"0" * 64 + b'"}',
]  # fmt: skip


def test_what_is_no_document_is_refused_in_words(live: Live) -> None:
    hub = live(play(until="people"))
    for data in NO_DOCUMENTS:
        assert reasons(signed(hub, RESEARCHER, "PUT", f"/documents/{'0' * 64}", data)), data


def test_the_catalogue_holds_up_when_one_hospital_keeps_its_description_to_itself(live: Live) -> None:
    book = play(until="people")
    hub = live(book)
    described = Document.new({"tables": {}})
    hub.channel("river-hospital").put(f"/documents/{described.commitment}", described.data)
    said = len(book.log)
    book.say(ev.DatasetDescribed, "river-hospital", case=CONSORTIUM, dataset=described.commitment)
    book.say(ev.DatasetDescribed, "들꽃병원", case=CONSORTIUM, dataset="0" * 64)
    hub.hub.log.submit(book.log[said:])
    found = hub.channel(RESEARCHER).get("/catalogue").json()
    assert found == {"river-hospital": {"commitment": described.commitment, "salt": described.salt, "body": described.body}}


def test_the_inbox_is_for_people(live: Live) -> None:
    book = play(until="submitted")
    hub = live(book)
    first = book.hospitals[0]
    items = hub.channel(f"drb-0@{first}").get("/inbox").json()
    assert [(item["do"], item["board"], item["case"], item["hospital"]) for item in items if item["case"] == book.case] == [
        ("vote", "drb", book.case, first)
    ]
    assert hub.channel(RESEARCHER).get("/inbox").json() == []
    with pytest.raises(Refused, match="people have an inbox"):
        hub.channel(first).get("/inbox")


@pytest.mark.parametrize(
    ("step", "who", "waits"),
    [
        ("submitted", "irb", [("vote", "irb")]),
        ("submitted", "steward", []),
        ("submitted", "checker-0", []),
        ("committed", "drb-0", [("open", "drb")]),
        ("committed", "drb-2", []),
        ("reviewed", "drb-0", []),
        ("reviewed", "steward", [("sign", None)]),
        ("authorised", "steward", []),
        ("sealed", "checker-1", [("review", "airlock")]),
        ("voted", "checker-1", []),
    ],
)
def test_an_inbox_holds_what_this_person_can_do_now(live: Live, step: str, who: str, waits: list[tuple[str, Any]]) -> None:
    book = play(until=step)
    items = live(book).channel(f"{who}@{book.hospitals[1]}").get("/inbox").json()
    assert [(item["do"], item.get("board")) for item in items if item["case"] == book.case] == waits


def test_checkers_are_not_asked_about_what_has_failed_or_goes_by_itself(live: Live) -> None:
    book = play(until="sealed", release="automatic-if-clear")
    assert live(book).channel(f"checker-0@{book.hospitals[0]}").get("/inbox").json() == []
    failed = play(until="sealed")
    failed.say(ev.JobFailed, failed.hospitals[1], job=failed.job, reason="fault", about=[])
    assert live(failed).channel(f"checker-0@{failed.hospitals[0]}").get("/inbox").json() == []


def test_a_case_is_seen_as_the_log_has_it(live: Live) -> None:
    book = play(until="released")
    channel = live(book).channel(RESEARCHER)
    view = channel.get(f"/cases/{book.case}").json()
    assert (view["size"], view["state"], view["applicant"]) == (len(book.log), "submitted", RESEARCHER)
    first = view["hospitals"][book.hospitals[0]]
    assert (first["state"], first["drb"], first["irb"], first["smallest_cell"], first["ended"]) == ("open", "approve", "exempt", 12, None)
    at = view["jobs"][book.job][book.hospitals[0]]
    assert (at["state"], at["output"], at["decision"], at["reviewers"]) == (
        "released", book.output, "approve", book.checkers_of(book.hospitals[0]),
    )  # fmt: skip
    assert channel.get("/chains/consortium").json() == {"seq": 0, "prev": None}
    with pytest.raises(NotFound, match="no such case"):
        channel.get(f"/cases/{'0' * 32}")


def test_the_bundle_is_one_that_the_verifier_accepts(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    book = play(until="closed")
    hub = live(book)
    with pytest.raises(NotFound, match="quorum"):
        hub.channel(RESEARCHER).get(f"/cases/{book.case}/bundle")
    for member in list(HOSPITALS)[:4]:
        text = hub.hub.log.newest() or ""
        hub.hub.log.add_cosignature(
            len(book.log), note.cosign(text, note.cosigner_name(ORIGIN, member), key=book.cosigners[member], time=1_800_000_000)
        )
    found = hub.channel(RESEARCHER).get(f"/cases/{book.case}/bundle?covering={len(book.log)}").content
    (hub.folder / "case.json").write_bytes(found)
    (hub.folder / "policy").write_text(hub.plain().get("/policy").text)
    assert verify.main([str(hub.folder / "case.json"), "--policy", str(hub.folder / "policy")]) == 0, capsys.readouterr().out
    with pytest.raises(NotFound):
        hub.channel(RESEARCHER).get(f"/cases/{'0' * 32}/bundle")
    with pytest.raises(NotFound):
        hub.channel(RESEARCHER).get(f"/cases/{book.case}/bundle?covering={len(book.log) + 1}")


def test_a_key_share_goes_to_the_hospitals_node_alone(live: Live) -> None:
    book = play(until="issued")
    hub = live(book)
    first = book.hospitals[0]
    assert hub.node(first).courier.key_share(book.case)
    for who in (RESEARCHER, OUTSIDE, COORDINATOR, f"steward@{first}"):
        with pytest.raises(Refused, match="no permit in force"):
            hub.channel(who).get(f"/cases/{book.case}/share")


# --- the mailbox


def test_the_hospitals_of_a_job_exchange_and_nobody_else_reads_or_writes(live: Live) -> None:
    book = play(until="job")
    hub = live(book)
    target = f"/jobs/{book.job}/q0r1"
    for hospital in book.hospitals:
        hub.channel(hospital).put(target, hospital.encode())
    found = hub.channel(book.hospitals[1]).get(f"{target}?wait=5", wait=5).json()
    assert found == {hospital: b64(hospital.encode()) for hospital in book.hospitals}
    for who in (OUTSIDE, COORDINATOR, "other@company-2", f"steward@{book.hospitals[0]}", f"checker-0@{book.hospitals[0]}"):
        with pytest.raises(Refused, match="only the parties of a job read"):
            hub.channel(who).get(target)
    for who in (OUTSIDE, COORDINATOR, RESEARCHER, f"steward@{book.hospitals[0]}"):
        with pytest.raises(Refused, match="only the hospitals of a job write"):
            hub.channel(who).put(target, b"mine")


def test_a_hospital_leaves_its_share_and_takes_everybodys_in_one_request(live: Live) -> None:
    book = play(until="job")
    hub = live(book)
    target, (first, *others) = f"/jobs/{book.job}/q0r1", book.hospitals
    assert unpacked(hub.channel(first).post(target, b"share\n").content) == {first: b"share\n"}, "it waits for nobody unless it is asked to"
    with ThreadPoolExecutor(len(others)) as threads:
        answers = threads.map(lambda name: unpacked(hub.channel(name).post(f"{target}?wait=20", name.encode(), wait=20).content), others)
        assert list(answers) == [{first: b"share\n"} | {name: name.encode() for name in others}] * len(others)
    for who in (OUTSIDE, COORDINATOR, RESEARCHER, f"steward@{first}"):
        with pytest.raises(Refused, match="only the hospitals of a job write"):
            hub.channel(who).post(target, b"mine")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"[]\nx", b'[["a",1]]\n', b'[["a",-1]]\n', b'[["a",1],["a",1]]\nxx', b'[["a",true]]\nx', b"{}\n"]
)
def test_an_answer_that_holds_other_messages_than_it_says_is_noticed(body: bytes) -> None:
    with pytest.raises(Tampered):
        unpacked(body)


def test_the_applicant_reads_what_was_released_and_no_share(live: Live) -> None:
    book = play(until="job")
    hub = live(book)
    first = book.hospitals[0]
    for label in ("handshake", "key", "q0r1", "q0r1s", "result", "release", "release-output"):
        hub.channel(first).put(f"/jobs/{book.job}/{label}", label.encode())
    applicant = hub.channel(RESEARCHER)
    for label in ("handshake", "key", "q0r1", "q0r1s", "result"):
        with pytest.raises(Refused, match="not for the applicant"):
            applicant.get(f"/jobs/{book.job}/{label}")
    for label in ("release", "release-output"):
        assert applicant.get(f"/jobs/{book.job}/{label}").json() == {first: b64(label.encode())}


def test_one_hospital_cannot_write_in_anothers_name_nor_over_its_message(live: Live) -> None:
    book = play(until="job")
    hub = live(book)
    one, two = book.hospitals[:2]
    hub.channel(one).put(f"/jobs/{book.job}/q0r1", b"first")
    hub.channel(one).put(f"/jobs/{book.job}/q0r1", b"second")
    hub.channel(two).put(f"/jobs/{book.job}/q0r1?sender={one}", b"forged")
    assert hub.hub.mailbox.get(book.job, "q0r1", expected=set(), seconds=0) == {one: b"first", two: b"forged"}


def test_the_mailbox_of_a_job_that_does_not_exist_is_no_place(live: Live) -> None:
    book = play(until="job")
    hub = live(book)
    channel = hub.channel(book.hospitals[0])
    for job in ("0" * 32, "x", "%00", "..%2f..%2fhub", book.job.upper()):
        with pytest.raises(NotFound):
            channel.put(f"/jobs/{job}/q0r1", b"x")
    for label in ("Q0R1", "q0r1%00", "a" * 41, "q%20r", "한글", "%F0%9F%92%A3"):
        with pytest.raises(PumasiError):
            channel.put(f"/jobs/{book.job}/{label}", b"x")


@pytest.mark.parametrize(("step", "expected"), [("job", {"q0r1", "release"}), ("released", {"release"}), ("done", set())])
def test_a_finished_job_leaves_only_what_was_released_and_a_finished_study_nothing(live: Live, step: str, expected: set[str]) -> None:
    book = play(until=step)
    hub = live(book).hub
    for label in ("q0r1", "release"):
        hub.mailbox.put(book.job, label, book.hospitals[0], b"x")
    for _ in range(2):
        governance.empty_mailboxes(hub.site.world, hub.mailbox)
    assert {label for label in ("q0r1", "release") if hub.mailbox.get(book.job, label, expected=set(), seconds=0)} == expected


# --- whatever else is sent


def test_a_body_that_is_too_large_is_refused(live: Live) -> None:
    hub = live(play(until="founded"))

    def pieces() -> Any:
        for _ in range((MAX_BODY >> 20) + 1):
            yield bytes(1 << 20)

    response = hub.plain().post("/events", content=pieces(), timeout=30)
    assert reasons(response) == ["a request holds at most 32 MiB"]


ODD_TARGETS = [
    "/log", "/log?start=x", "/log?start=-1", "/log?start=99999999999999999999999", "/log?start=1.5", "/log?start=%ff",
    "/log?start=0&wait=nan", "/log?start=0&wait=inf", "/log?start=0&wait=-1", "/log?start=0&wait=", "/log?start=0&seen=-7",
    "/log?start=0&seen=1e9", "/checkpoint?covering=-1", "/checkpoint?covering=9999999999999999999999", "/checkpoint?wait=nan",
    "/nowhere", "/%00", "/%ff%fe", "/..%2f..", "/documents/", "/cases/../members", "/cosignatures/1", "/events",
]  # fmt: skip


def test_an_odd_address_gets_an_answer_in_words(live: Live) -> None:
    client = live(play(until="founded")).plain()
    for target in ODD_TARGETS:
        reasons(client.get(target))


def test_odd_addresses_behind_a_signature_get_an_answer_in_words(live: Live) -> None:
    book = play(until="job")
    channel = live(book).channel(book.hospitals[0])
    odd = [
        "%00",
        "%ff",
        "x",
        "한글",
        "a%2fb",
        "0" * 32,
        "-1",
        "'; DROP TABLE notes; --",
        "%25",
        "a b",
        "+",
        "~",
        "(*)",
        "😀",
        "a;b=c",
        "a,b",
        "a:b@c",
    ]
    shapes = [
        "/cases/{}",
        "/cases/{}/bundle",
        "/cases/{}/share",
        "/chains/{}",
        "/documents/{}",
        "/jobs/{}/q0r1",
        "/jobs/" + book.job + "/{}",
    ]
    for shape in shapes:
        for one in odd:
            try:
                assert channel.get(shape.format(one)).json() is not None
            except (Refused, NotFound, PumasiError) as error:
                assert "its log says why" not in str(error), (shape, one)
                assert not (isinstance(error, Tampered) and "another request" in str(error)), (shape, one)


@pytest.mark.parametrize("name", ["a%b", "a&b=c", "a+b", "병원 #1", "a?b", "a;b", "a'b\"c", "100%25"])
def test_a_hospital_of_any_name_can_ask_for_one_senders_message(live: Live, name: str) -> None:
    book = Casebook().play(until="members")
    book.member(name, "hospital")
    book.hospitals = [name, "river-hospital"]
    for step in ("people", "datasets"):
        getattr(book, step)()
    for role in ("drb-0", "drb-1", "drb-2"):
        book.person(f"{role}@{name}", "drb")
    for role in ("irb", "steward"):
        book.person(f"{role}@{name}", role)
    for role in ("checker-0", "checker-1"):
        book.person(f"{role}@{name}", "checker")
    book.say(ev.DatasetDescribed, name, case=CONSORTIUM, dataset="0" * 64)
    book.play(after="datasets", until="job")
    hub = live(book)
    node = hub.node(name)
    hub.channel(name).put(f"/jobs/{book.job}/key", b"mine")
    assert node.courier.messages(book.job, "key", sender=name, wait=0) == {name: b"mine"}


def test_random_bytes_never_make_the_hub_fail(live: Live) -> None:
    book = play(until="sealed")
    hub = live(book)
    client, rng = hub.plain(), random.Random(7)
    event = book.log[-1]

    def noise() -> bytes:
        kind = rng.randrange(4)
        if kind == 0:
            return rng.randbytes(rng.randrange(60))
        if kind == 1:
            return b64(rng.randbytes(rng.randrange(60))).encode()
        at = rng.randrange(len(event))
        data = event[:at] + bytes([rng.randrange(256)]) + event[at + rng.randrange(3) :]
        return b64(data).encode() if kind == 2 else data

    for _ in range(60):
        body = noise()
        for method, target in (("POST", "/events"), ("POST", f"/cosignatures/{len(book.log)}"), ("PUT", f"/documents/{'0' * 64}")):
            response = client.request(method, target, content=body) if method == "POST" else signed(hub, RESEARCHER, method, target, body)
            if response.status_code != 200:
                assert reasons(response)
            else:
                assert all(answer["reasons"] or answer["index"] < len(book.log) for answer in response.json())
    assert hub.hub.site.entries(0) == book.log


# --- the whole hub


def test_a_new_hub_founds_its_log_once(live: Live) -> None:
    hub = live(play(until="founded"))
    home = hub.folder / "new"
    from pumasi.hub import cli

    cli.init(home, name="조정기관", origin="log.example/새", host="127.0.0.1", port=hub.server.port)
    first = open_hub(home)
    assert (first.site.tree.size, first.site.world.founded and first.site.world.founded.author) == (1, "조정기관")
    assert open_hub(home).site.entries(0) == first.site.entries(0)


def test_the_running_hub_publishes_and_tidies_by_itself(live: Live) -> None:
    import uvicorn

    book = play(until="destroyed")
    hub = live(book)
    config = uvicorn.Config(make_app(hub.hub), host="127.0.0.1", port=0, log_config=None, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        site = hub.hub.site
        assert site.wait_for(lambda: site.case(book.case).state == "closed", 10)
        assert site.wait_for(lambda: hub.hub.log.published == site.tree.size, 10)
    finally:
        server.should_exit = True
        thread.join(timeout=10)
    assert json.loads(site.entries(len(book.log))[0])["body"]["type"] == "CaseClosed"
