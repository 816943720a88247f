"""A researcher who wants more than the permit says, and a hub that looks at everything it relays."""

from __future__ import annotations

import base64
import json
import math
import re
import sqlite3
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pumasi.analysis import secure
from pumasi.client import connect
from pumasi.client.home import Home
from pumasi.client.questions import compiled
from pumasi.client.study import Study
from pumasi.kernel import event as ev
from pumasi.kernel.envelope import Keys, canonical, new_id, parse_canonical, sha256, sign, unb64
from pumasi.kernel.errors import PumasiError, Refused, Tampered
from pumasi.kernel.event import Entry
from pumasi.kernel.seal import unseal, unseal_from
from pumasi.node.app import open_node
from pumasi.node.workspace import cipher
from pumasi.node.workspace.keeper import Keeper
from pumasi.store.code import analysis_digest
from pumasi.store.document import Document
from tests.story import studies
from tests.story.harness import Kept

MODEL = {"name": "m", "kind": "glm", "family": "gaussian", "table": "patients", "formula": "age ~ aspirin"}
COUNT = {"name": "t", "kind": "table", "table": "patients", "by": ["aspirin"]}


@pytest.fixture(scope="module")
def study(kept: Kept) -> Iterator[Study]:
    """A case with open workspaces at five hospitals, for whoever wants to misuse it; a small study on other columns beside it."""
    with connect(home=kept.researcher) as me:
        (kept.folder / "second.toml").write_text(studies.SECOND, encoding="utf-8")
        found = me.apply(kept.folder / "second.toml")
        found.wait_for_permits()
        yield found
        if found.view()["state"] not in ("done", "closed"):
            found.done()


# --- a malicious researcher -------------------------------------------------------------------------------------------


def job(study: Study, **changed: Any) -> dict[str, Any]:
    """The job that the client would send, with these fields changed."""
    view = study.view()
    hospitals = sorted(view["hospitals"])
    return {
        "job": new_id(),
        "case": study.case,
        "applicant": study.home.id,
        "applicant_box": study.home.keys.box_public,
        "permits": {hospital: view["hospitals"][hospital]["permit"] for hospital in hospitals},
        "lead": hospitals[0],
        "smallest_cell": 15,
        "code": analysis_digest(),
        "questions": [compiled(COUNT, study.tables, hospitals)],
    } | changed


def send(study: Study, body: dict[str, Any], *, keys: Keys | None = None, at: list[str] | None = None) -> str:
    """Sign and submit a job, whatever it says; its id."""
    document = Document.new(parse_canonical(sign("job", body, keys or study.home.keys)))
    hospitals = at or sorted(study.view()["hospitals"])
    fields = {"job": body["job"], "document": document.commitment, "hospitals": hospitals, "lead": body["lead"]}
    study.home.record(ev.JobSubmitted, case=study.case, opened=[document], **fields)
    return str(body["job"])


def failures(study: Study, id: str) -> set[str]:
    """Why the hospitals stopped a job. Not one of them may have sealed an output."""
    while True:
        here = study.view(newer=True)["jobs"].get(id, {})
        states = {place["state"] for place in here.values()}
        assert not states & {"under review", "released"}, "a job that nobody may run has an output"
        if "failed" in states:
            return {place["failure"] for place in here.values() if place["failure"]}


def own_design(study: Study) -> dict[str, Any]:
    """A model whose formula looks harmless and whose design singles out everybody of one age."""
    made: dict[str, Any] = json.loads(json.dumps(compiled(MODEL, study.tables, study.application.hospitals)))
    made["design"]["columns"].append({"name": "aged 61", "factors": [{"column": "age", "level": "61"}]})
    return made


def reading(column: str) -> dict[str, Any]:
    """A count by one column, in the form that a job has."""
    return COUNT | {"by": [column], "reads": [column]}


JOBS: dict[str, tuple[Callable[[Study], dict[str, Any]], str]] = {
    "a design of one's own": (lambda s: job(s, questions=[own_design(s)]), "age"),
    "an extra field": (lambda s: job(s, questions=[COUNT | {"reads": ["aspirin"], "coefficients": ["1"]}]), "knows no key 'coefficients'"),
    "a condition that the node has not seen": (
        lambda s: job(s, questions=[COUNT | {"reads": ["aspirin", "age"], "where": "age > 90"}]),
        "a condition goes with its plain form",
    ),
    "a column that it does not say it reads": (lambda s: job(s, questions=[reading("sex") | {"by": ["age"]}]), "'age'"),
    "a column that the permit does not cover": (lambda s: job(s, questions=[reading("death14")]), "the column 'death14'"),
    "the identifier": (lambda s: job(s, questions=[reading("name")]), "does not cover the column 'name'"),
    "the person": (lambda s: job(s, questions=[reading("patient_no")]), "does not cover the column 'patient_no'"),
    "another table": (lambda s: job(s, questions=[reading("sex") | {"table": "visits"}]), "does not cover the table 'visits'"),
    "a kind that the permit does not cover": (
        lambda s: job(s, questions=[{"name": "d", "kind": "describe", "table": "patients", "columns": ["age"], "reads": ["age"]}]),
        "does not cover analyses of kind 'describe'",
    ),
    "a kind that nobody knows": (lambda s: job(s, questions=[reading("sex") | {"kind": "rows"}]), "does not cover analyses of kind 'rows'"),
    "a lower smallest cell": (lambda s: job(s, smallest_cell=1), "asks for larger cells"),
    "another version of the code": (lambda s: job(s, code="0" * 64), "another version of the analysis code"),
    "another hospital's permit": (
        lambda s: job(s, permits=dict.fromkeys(job(s)["permits"], min(job(s)["permits"].values()))),
        "names another permit",
    ),
    "somebody else's name": (lambda s: job(s, applicant="drb-1@synthetic-hospital-1"), "another applicant"),
    "another case": (lambda s: job(s, case="0" * 32), "another case"),
    "fewer hospitals than its event says": (
        lambda s: job(s, permits=dict(list(job(s)["permits"].items())[:3])),
        "another hospitals",
    ),
    "questions of no form": (lambda s: job(s, questions=[{"kind": ["table"], "by": {"x": None}}]), "kind"),
    "no question": (lambda s: job(s, questions=[]), "questions"),
}  # fmt: skip


def attempt(kept: Kept, study: Study, body: dict[str, Any], keys: Keys | None = None) -> str:
    """What the log's door says to a job, or else what every node says to it in its own log. Nobody runs it."""
    logs = {name: kept.home(name) / "node.log" for name in kept.nodes}
    before = {name: path.stat().st_size for name, path in logs.items()}
    try:
        id = send(study, body, keys=keys)
    except Refused as refused:
        return str(refused)
    assert failures(study, id) <= {"permit", "tampered", "source"}
    told = b"".join(path.read_bytes()[before[name] :] for name, path in logs.items()).decode()
    assert id[:8] in told
    return told


@pytest.mark.parametrize("what", JOBS)
def test_no_hospital_runs_a_job_beyond_its_permit(kept: Kept, study: Study, what: str) -> None:
    make, words = JOBS[what]
    assert words in attempt(kept, study, make(study))
    assert not any(b"Traceback" in content for _, content in kept.logs())


def test_a_job_signed_by_another_person_runs_nowhere(kept: Kept, study: Study) -> None:
    assert "another signature" in attempt(kept, study, job(study), Keys.new())


def test_a_job_for_a_few_hospitals_is_not_taken_into_the_log(study: Study) -> None:
    """With two of five, each could be subtracted from the whole."""
    few = sorted(study.view()["hospitals"])[:2]
    body = job(study)
    with pytest.raises(Refused, match="asks for more hospitals"):
        send(study, body | {"permits": {name: body["permits"][name] for name in few}}, at=few)


def test_a_job_is_taken_once(study: Study) -> None:
    body = job(study, smallest_cell=1)
    failures(study, send(study, body))
    with pytest.raises(Refused, match="submitted before"):
        send(study, body)


def test_somebody_else_cannot_ask_in_this_case(kept: Kept, study: Study) -> None:
    other = Home(Path(next(person["home"] for person in kept.system["people"] if person["id"].startswith("drb-1"))))
    try:
        body = job(study, applicant=other.id)
        document = Document.new(parse_canonical(sign("job", body, other.keys)))
        fields = {"job": body["job"], "document": document.commitment, "hospitals": sorted(body["permits"]), "lead": body["lead"]}
        with pytest.raises(Refused, match="is for the applicant"):
            other.record(ev.JobSubmitted, case=study.case, opened=[document], **fields)
        with pytest.raises(Refused, match="is for the researcher"):
            asked = study.application.model_copy(update={"applicant": other.id, "case": new_id()})
            document = Document.new(asked.plain())
            fields = {"application": document.commitment, "hospitals": asked.hospitals, "smallest_cell": asked.smallest_cell}
            other.record(ev.ApplicationSubmitted, case=asked.case, opened=[document], **fields)
    finally:
        other.close()


def test_pseudonyms_of_two_permits_have_nothing_in_common(kept: Kept, study: Study) -> None:
    """Inside one hospital's two workspaces: the same people, no pseudonym twice, no number of a patient, only permitted columns."""
    hospital = kept.nodes[0]
    (kept.folder / "small.toml").write_text(studies.SMALL, encoding="utf-8")
    with connect(home=kept.researcher) as me:
        other = me.apply(kept.folder / "small.toml", hospitals=sorted(kept.nodes))
        other.wait_for_permits()
        node = open_node(kept.home(hospital))
        try:
            first, second = (workspace(node, case) for case in (study.case, other.case))
        finally:
            node.close()
            other.done()
    frame = studies.pooled(kept.folder / "data")
    patients = frame[frame["hospital"] == hospital]
    assert len(first) == len(second) == len(patients)
    assert not set(first["person"]) & set(second["person"])
    assert all(re.fullmatch("[0-9a-f]{32}", person) for person in [*first["person"], *second["person"]])
    assert first.shape[1] == 1 + 3 and second.shape[1] == 1 + 2
    assert list(first["person"]) == sorted(first["person"])
    assert sorted(first["c0"].dropna()) == sorted(second["c0"].dropna()) == sorted(patients["age"].dropna())


def workspace(node: Any, case: str) -> pd.DataFrame:
    keeper = Keeper(node)
    event = node.site.world.cases[case].permits[node.settings.name].event
    with cipher.reading(node.workspace(case) / cipher.FILE, keeper._key(case, event.permit)) as connection:
        names = [row[0] for row in connection.execute("SELECT column_name FROM (DESCRIBE w.t0)").fetchall()]
        return pd.DataFrame(connection.execute("SELECT * FROM w.t0").fetchall(), columns=names)


def test_nothing_runs_after_the_study_is_done(study: Study) -> None:
    study.done()
    with pytest.raises(Refused, match=r"closed|no permit in force"):
        send(study, job(study))


# --- a curious hub ----------------------------------------------------------------------------------------------------


class Recorder:
    """Everything that ever lies in the hub's mailbox while a study runs."""

    def __init__(self, database: Path) -> None:
        self.messages: dict[tuple[str, str, str], bytes] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(database,))
        self._thread.start()

    def _watch(self, database: Path) -> None:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as db:
            while not self._stop.wait(0.01):
                for job_id, label, sender, data in db.execute("SELECT job, label, sender, data FROM messages"):
                    self.messages[(job_id, label, sender)] = bytes(data)

    def end(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture(scope="module")
def watched(kept: Kept) -> tuple[dict[tuple[str, str, str], bytes], dict[str, Any], bytes]:
    """A study with everything in it under the hub's eyes: the messages, the outcome, and the hub's folder before the release."""
    recorder = Recorder(kept.root / "hub" / "mailbox.db")
    try:
        run = kept.study((kept.folder / "data" / "study.toml").read_text(encoding="utf-8"), "watched")
        run.until("two people at each review it now")
        before = folder(kept.root / "hub")
        assert run.end() == 0, run.said
    finally:
        recorder.end()
    return recorder.messages, run.outcome(), before


def folder(path: Path) -> bytes:
    """Every byte of every file below a folder, the databases' write-ahead logs included."""
    return b"".join(file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file())


def numbers(outcome: dict[str, Any], data: Path) -> set[float]:
    """Every number of a study that somebody could want to know: of the results, and of each hospital on the way to them."""
    found: set[float] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for key, one in value.items():
                walk(None if key in ("rounds", "iterations") else one)
        elif isinstance(value, list):
            for one in value:
                walk(one)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.add(float(value))

    walk(outcome["analyses"])
    frame = studies.pooled(data)
    for _, group in [*frame.groupby("hospital"), ("all", frame)]:
        found |= {float(count) for count in group.groupby(["aspirin", "conscious"]).size()}
        found |= {float(group["age"].sum()), float(group["age"].mean()), float(group["age"].std()), float(group["age"].count())}
    return {number for number in found if abs(number) not in (0.0, 1.0)}


def shapes(number: float) -> Iterable[bytes]:
    """How a number may stand in binary: a double either way round, a fixed-point element, a 64-bit integer."""
    yield struct.pack("<d", number)
    yield struct.pack(">d", number)
    yield secure.pack(secure.encode([number], hospitals=1)[:1])
    if number == int(number) and number > 255:
        yield struct.pack("<q", int(number))


def texts(number: float) -> Iterable[bytes]:
    """How a number may stand in a text; whole numbers are looked for elsewhere, because identifiers and hours hold digits too."""
    if number != int(number):
        yield repr(number).encode()
        yield f"{number:.6f}".rstrip("0").encode()


def occurring(found: Iterable[float], content: bytes) -> list[float]:
    return [number for number in found if any(shape in content for shape in (*shapes(number), *texts(number)))]


def test_the_search_would_find_a_number(watched: Any, kept: Kept) -> None:
    """The other tests of this page are worth something only if this one holds."""
    _, outcome, _ = watched
    every = numbers(outcome, kept.folder / "data")
    assert len(every) > 60
    plain = json.dumps(outcome["analyses"]).encode()
    for number in every:
        assert occurring([number], b"..." + secure.pack(secure.encode([1.5, number], hospitals=5)) + b"...")
    released = {value for analysis in outcome["analyses"] for value in analysis.get("coefficients", {}).values()}
    assert sorted(occurring(released, plain)) == sorted(released)


def test_the_hub_relays_no_number(watched: Any, kept: Kept) -> None:
    messages, outcome, before = watched
    every = numbers(outcome, kept.folder / "data")
    labels = {label for _, label, _ in messages}
    assert {"handshake", "key", "q0r1", "q1r1", "q2r1", "q0r1s", "result", "release", "release-output"} <= labels
    assert len(messages) > 50
    for place, data in messages.items():
        inner = b"".join(unb64(text.decode()) for text in re.findall(rb'"([A-Za-z0-9+/]{20,}={0,2})"', data) if len(text) % 4 == 0)
        assert occurring(every, data + inner) == [], place
    fractions = {number for number in every if not float(number).is_integer()}
    assert occurring(fractions, before) == []
    assert occurring(fractions, folder(kept.root / "hub")) == [], "even after the release only the researcher can read the result"


# Numbers that the hub may hold, by the name of their field: none of them is computed from a patient.
HARMLESS = {
    "seq", "size", "smallest_cell", "hospitals_at_least", "events", "consortium", "objects", "bytes", "attempts", "failures", "residual",
    "removed", "version",
}  # fmt: skip


def test_every_number_in_the_hub_stands_in_a_field_that_is_no_result(watched: Any, kept: Kept) -> None:
    strange: set[str] = set()

    def walk(value: Any, name: str) -> None:
        if isinstance(value, dict):
            for key, one in value.items():
                walk(one, key)
        elif isinstance(value, list):
            for one in value:
                walk(one, name)
        elif isinstance(value, int | float) and not isinstance(value, bool) and name not in HARMLESS:
            strange.add(name)

    with closing(sqlite3.connect(f"file:{kept.database('hub')}?mode=ro", uri=True)) as db:
        for (data,) in [*db.execute("SELECT data FROM entries"), *db.execute("SELECT data FROM documents")]:
            walk(json.loads(data), "")
    for line in (kept.root / "hub" / "hub.log").read_text(encoding="utf-8").splitlines():
        walk(json.loads(line), "")
    assert strange == set()


def test_no_process_holds_a_patient_where_it_should_not(watched: Any, kept: Kept) -> None:
    """Names, numbers and birthdays: not with the hub, not in a log, not on an output, not in a node's database."""
    places = {"hub": folder(kept.root / "hub"), "researcher": folder(kept.researcher)}
    places |= {str(path): content for path, content in kept.logs()}
    places |= {f"{name}'s database": b"".join(path.read_bytes() for path in kept.home(name).glob("node.db*")) for name in kept.nodes}
    born = re.compile(rb"(?<![0-9])19[0-9]{2}-[01][0-9]-[0-3][0-9]")
    names = [b"Synthetic Patient", "가상환자".encode(), "가상환자".encode("cp949")]
    for place, content in places.items():
        assert not re.search(rb"P0[1-5]-[0-9]{6}", content), place
        assert not born.search(content) and not [name for name in names if name in content], place
    source = b"".join(path.read_bytes() for path in (kept.folder / "data").rglob("patients.csv"))
    assert re.search(rb"P0[1-5]-[0-9]{6}", source) and born.search(source) and all(name in source for name in names)


def test_no_key_of_the_hub_opens_a_message(watched: Any, kept: Kept) -> None:
    messages, _, _ = watched
    hub = kept.root / "hub"
    secrets: set[bytes] = set()
    for path in [*hub.glob("keys/*"), *hub.glob("shares/*"), kept.researcher / "secret.key"]:
        for line in path.read_text(encoding="utf-8").split():
            try:
                raw = base64.b64decode(line, validate=True)
            except ValueError:
                continue
            secrets |= {raw} if len(raw) == 32 else set()
    assert len(secrets) >= 4
    boxes = [Keys.from_text(path.read_text()).box for path in (hub / "keys" / "coordinator.key", kept.researcher / "secret.key")]
    sealed = {place: data for place, data in messages.items() if place[1] != "handshake" and not place[1].startswith(("key", "release"))}
    assert sealed
    submitted = [event for data in kept.entries("hub") if isinstance(event := Entry(data).event, ev.JobSubmitted)]
    digests = {event.job: document_digest(kept, event.document) for event in submitted}
    for (id, label, sender), data in sealed.items():
        context = f"{digests[id]}|{label}|{sender}".encode()
        for secret in secrets:
            with pytest.raises(PumasiError):
                unseal(secret, data, context=context)
        for box in boxes:
            with pytest.raises(PumasiError):
                unseal_from(box, data, context=context)
        assert entropy(data) > 7, "what a hospital sends does not look like ciphertext" if len(data) > 2000 else None


def document_digest(kept: Kept, commitment: str) -> str:
    """The digest of a signed job, which its messages are bound to."""
    with closing(sqlite3.connect(f"file:{kept.database('hub')}?mode=ro", uri=True)) as db:
        (data,) = db.execute("SELECT data FROM documents WHERE commitment = ?", (commitment,)).fetchone()
    return sha256(canonical(json.loads(data)["body"]))


def entropy(data: bytes) -> float:
    """Bits per byte, as the bytes are distributed; 8 is the most there is, and short messages cannot reach it."""
    if len(data) < 2000:
        return 8.0
    counts = [data.count(bytes([value])) for value in range(256)]
    return -sum(count / len(data) * math.log2(count / len(data)) for count in counts if count)


def test_a_researcher_reads_no_round(watched: Any, kept: Kept) -> None:
    messages, _, _ = watched
    id = next(iter(messages))[0]
    with connect(home=kept.researcher) as me:
        for label in ("handshake", "key", "q0r1", "result"):
            with pytest.raises(Refused, match="not for the applicant"):
                me.home.channel.get(f"/jobs/{id}/{label}")
        with pytest.raises(Refused, match="only the hospitals"):
            me.home.channel.put(f"/jobs/{id}/q0r1", b"mine")
    stranger = Home(Path(kept.system["people"][0]["home"]))
    with pytest.raises((Refused, Tampered)):
        stranger.channel.get(f"/jobs/{id}/release")
    stranger.close()


def test_logs_are_lines_of_json_without_a_traceback(kept: Kept) -> None:
    assert [path for path, content in kept.logs() if path.suffix == ".log" and content]
    for path, content in kept.logs():
        assert b"Traceback" not in content
        if path.suffix == ".log":
            assert all({"at", "party", "level", "what"} <= set(json.loads(line)) for line in content.splitlines())
