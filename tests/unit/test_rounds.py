"""A job between hospitals: what it finds, what passes the hub, and every way in which a hub or a hospital may lie."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pumasi.analysis import secure
from pumasi.analysis.frame import Frame
from pumasi.kernel.envelope import Keys, b64, canonical, open_signed, parse_canonical, sha256, sign, unb64
from pumasi.kernel.errors import Refused, Tampered
from pumasi.kernel.job import Handshake
from pumasi.kernel.seal import derive, release_key, seal, seal_to, unseal
from pumasi.node.jobs.message import Message
from pumasi.node.jobs.rounds import Failed
from tests.analysis_rounds import Pooled, assert_pooled, frame
from tests.joint_jobs import LEVELS, NAMES, Change, Joint, Local, Refusing, dealt, patients, results

FORMULA = "death14 ~ aspirin + age + conscious"
TABLE = {"name": "who was treated", "kind": "table", "table": "patients", "by": ["aspirin", "conscious"]}
DESCRIBE = {"name": "baseline", "kind": "describe", "table": "patients", "columns": ["age", "aspirin"]}
GLM = {"name": "model", "kind": "glm", "family": "binomial", "table": "patients", "formula": FORMULA}


# --- the result


@pytest.mark.parametrize("hospitals", [1, 2, 3, 5])
def test_a_job_finds_what_all_rows_together_say(tmp_path: Path, hospitals: int) -> None:
    joint = Joint(tmp_path, dealt(hospitals), [TABLE, DESCRIBE, GLM])
    outcome = joint.sealed()
    one = next(iter(outcome.values()))
    assert {(sealed.data, sealed.digest) for sealed in outcome.values()} == {(one.data, sha256(one.data))}
    table, described, model = results(one)
    assert all(analysis["hospitals"] == sorted(joint.tables) for analysis in (table, described, model))
    counts = patients().groupby(["aspirin", "conscious"]).size()
    assert {(cell["aspirin"], cell["conscious"]): cell["n"] for cell in table["cells"]} == counts.to_dict()
    assert described["columns"]["age"]["n"] == 900 and described["columns"]["age"]["missing"] == 0
    assert described["columns"]["age"]["mean"] == pytest.approx(patients().age.mean(), rel=1e-12)
    assert described["columns"]["age"]["sd"] == pytest.approx(patients().age.std(), rel=1e-12)
    assert described["columns"]["aspirin"]["levels"] == {str(key): n for key, n in patients().aspirin.value_counts().items()}
    assert (model["n"], model["rounds"] > 3, "implied_counts" in model) == (900, True, False)
    assert_pooled(model, Pooled(FORMULA, "binomial", patients()))


def test_the_sealed_bytes_are_canonical_salted_and_name_their_case(tmp_path: Path) -> None:
    joint = Joint(tmp_path, dealt(3), [TABLE])
    one = joint.sealed()[joint.lead]
    document = parse_canonical(one.data)
    assert document.keys() == {"format", "case", "job", "salt", "smallest_cell", "analyses"}
    assert (document["case"], document["job"], len(document["salt"])) == (joint.job.case, joint.job.job, 64)
    again = Joint(tmp_path, dealt(3), [TABLE], number="2").sealed()[joint.lead]
    assert parse_canonical(again.data)["salt"] != document["salt"]


def test_the_parts_of_all_hospitals_open_the_result_and_fewer_do_not(tmp_path: Path) -> None:
    joint = Joint(tmp_path, dealt(3), [TABLE])
    outcome = joint.sealed()
    parts = {name: sealed.release_share for name, sealed in outcome.items()}
    assert len(set(parts.values())) == 3
    digest, closed = outcome[joint.lead].digest, joint.relay.passed[(joint.lead, "release-output")]
    assert unseal(release_key(parts, digest), closed, context=digest.encode()) == outcome[joint.lead].data
    for name in parts:
        with pytest.raises(Tampered):
            unseal(release_key({**parts, name: bytes(32)}, digest), closed, context=digest.encode())


def test_several_rows_of_one_person_count_once(tmp_path: Path) -> None:
    twice = pd.concat([patients(), patients()], ignore_index=True)
    halves = {}
    tables = dealt(3, patients())
    for name, table in tables.items():
        both = frame(pd.concat([table, table], ignore_index=True), LEVELS)
        halves[name] = Local({"patients": Frame(np.tile(np.arange(len(table)), 2), both.columns)})
    joint = Joint(tmp_path, tables, [TABLE], halves=halves)
    cells = results(joint.sealed()[joint.lead])[0]["cells"]
    assert len(twice) == 1800 and sum(cell["n"] for cell in cells) == 900


# --- what passes the hub


def test_nothing_that_passes_the_hub_shows_a_number(tmp_path: Path) -> None:
    joint = Joint(tmp_path, dealt(3), [TABLE, DESCRIBE, GLM])
    sealed = joint.sealed()[joint.lead]
    passed = joint.relay.passed
    everything = b"\n".join(passed.values())
    numbers = {value for half in joint.halves.values() for partial in half.seen for value in partial if abs(value) > 2}
    assert len(numbers) > 100
    for value in numbers:
        assert struct.pack("<d", value) not in everything
        assert secure.pack(secure.encode([value], hospitals=3)[:1]) not in everything
    assert repr(results(sealed)[2]["coefficients"]["age"]).encode() not in everything
    for (_, label), data in passed.items():
        if label == "handshake":
            assert parse_canonical(data)["body"].keys() == {"job", "hospital", "document", "box"}
        elif label == "key":
            assert all(len(unb64(value)) == 12 + 32 + 16 for value in parse_canonical(data).values())
        else:
            assert not any(word in data for word in (b'"under"', b'"refused"', b'"analyses"', b'"step"'))


def test_even_a_hospital_that_opens_a_share_finds_it_masked(tmp_path: Path) -> None:
    joint = Joint(tmp_path, dealt(3), [TABLE])
    joint.sealed()
    key = joint.runs[joint.lead]._key
    total = []
    for name, half in joint.halves.items():
        message = Message.read(unseal(key, joint.relay.passed[(name, "q0r1")], context=f"{joint.digest}|q0r1|{name}".encode()))
        plain = secure.encode(half.seen[0], hospitals=3)
        masked = secure.unpack(message.share, len(plain))
        assert message.reasons == []
        assert not set(masked) & set(plain)
        total.append(masked)
    sums = [sum(values) for values in zip(*(half.seen[0] for half in joint.halves.values()), strict=True)]
    assert secure.decode(secure.add(total)) == sums


def test_each_run_of_a_job_draws_new_keys(tmp_path: Path) -> None:
    one, two = (Joint(tmp_path / number, dealt(3), [TABLE], number=number) for number in map(_made(tmp_path), "12"))
    one.sealed()
    two.sealed()
    shown = [parse_canonical(joint.relay.passed[(name, "handshake")])["body"]["box"] for joint in (one, two) for name in joint.tables]
    assert len(set(shown)) == 6 and one.runs[one.lead]._key != two.runs[two.lead]._key
    assert len({run._key for run in one.runs.values()}) == 1


def _made(folder: Path) -> Callable[[str], str]:
    def make(name: str) -> str:
        (folder / name).mkdir()
        return name

    return make


# --- a hub that cheats


def flipped(at: int) -> Change:
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


CHANGES: list[Change] = [flipped(39), lambda data: data[:-1], lambda data: data + b"x", lambda _: b"", lambda _: b"[]"]


@pytest.mark.parametrize("label", ["handshake", "key", "q0r1", "q0r1s", "result"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_message_that_was_changed_on_its_way_stops_the_job(tmp_path: Path, label: str, change: Change) -> None:
    joint = Joint(tmp_path, dealt(3), [TABLE])
    joint.changes[(joint.lead, label)] = change
    stopped = joint.failed()
    assert {error.reason for error in stopped.values()} == {"tampered"}
    assert set(stopped) & set(joint.others)


def test_a_share_of_another_hospital_round_or_job_is_noticed(tmp_path: Path) -> None:
    before = Joint(tmp_path, dealt(3), [TABLE], number="0")
    before.sealed()
    for number, (sender, label) in enumerate([("들꽃", "q0r1"), ("바다병원", "q0r1")], 1):
        joint = Joint(tmp_path, dealt(3), [TABLE], number=str(number))
        joint.changes[(sender, label)] = lambda _, at=(sender, label): before.relay.passed[at]
        assert {error.reason for error in joint.failed().values()} == {"tampered"}
    swapped = Joint(tmp_path, dealt(3), [GLM], number="3")
    swapped.changes[("들꽃", "q0r2")] = lambda _: swapped.relay.passed[("들꽃", "q0r1")]
    assert {error.reason for error in swapped.failed().values()} == {"tampered"}
    copied = Joint(tmp_path, dealt(3), [TABLE], number="4")
    copied.changes[("바다병원", "q0r1")] = lambda _: copied.exchange("바다병원").receive("q0r1", "들꽃")["들꽃"]
    assert {error.reason for error in copied.failed().values()} == {"tampered"}


def test_a_share_that_never_comes_stops_the_job_and_names_who_is_missing(tmp_path: Path) -> None:
    joint = Joint(tmp_path, dealt(3), [TABLE])
    joint.changes[("들꽃", "q0r1")] = lambda _: None
    joint.relay.over.set()
    outcome = joint.run()
    assert all(isinstance(one, Failed) and one.reason == "missing-hospital" for one in outcome.values())
    assert {one.about for one in outcome.values() if isinstance(one, Failed)} & {("들꽃",)}


def test_a_message_that_is_sent_twice_counts_once(tmp_path: Path) -> None:
    joint = Joint(tmp_path, dealt(3), [TABLE])
    joint.changes[("들꽃", "q0r1")] = lambda data: joint.relay.mailbox.put(joint.job.job, "q0r1", "들꽃", data) or data
    cells = results(joint.sealed()[joint.lead])[0]["cells"]
    assert sum(cell["n"] for cell in cells) == 900


def test_the_hub_cannot_put_a_job_key_of_its_own_in_place_of_the_leads(tmp_path: Path) -> None:
    """With one it could open every share, sum them, and see numbers before a release."""
    joint = Joint(tmp_path, dealt(3), [TABLE])
    mine = bytes(range(32))
    context = f"{joint.digest}|key|{joint.lead}".encode()

    def to_their_boxes(_: bytes) -> bytes:
        boxes = {name: unb64(parse_canonical(joint.relay.passed[(name, "handshake")])["body"]["box"]) for name in joint.others}
        return canonical({name: b64(seal_to(box, mine, context=context)) for name, box in boxes.items()})

    joint.changes[(joint.lead, "key")] = to_their_boxes
    stopped = joint.failed()
    assert {error.reason for error in stopped.values()} == {"tampered"}
    assert not any(run._key == mine for run in joint.runs.values())


def with_handshake(joint: Joint, name: str, **changes: Any) -> Change:
    """The handshake of a hospital with another body, signed by its own node or by `signer`."""
    signer = changes.pop("signer", joint.keys[name])
    return lambda data: sign("handshake", parse_canonical(data)["body"] | changes, signer)


LOW_ORDER = [bytes(32), b"\x01" + bytes(31), bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")]


@pytest.mark.parametrize(
    "changes",
    [
        {"signer": Keys.new()},
        {"job": "0" * 32},
        {"document": "0" * 64},
        {"hospital": "바다병원"},
        {"hospital": 7},
        {"box": "short"},
        {"extra": 1},
        *({"box": b64(point)} for point in LOW_ORDER),
    ],
    ids=lambda changes: ",".join(f"{key}" for key in changes),
)
def test_a_handshake_that_is_not_the_nodes_own_for_this_job_stops_it(tmp_path: Path, changes: dict[str, Any]) -> None:
    joint = Joint(tmp_path, dealt(3), [TABLE])
    joint.changes[("들꽃", "handshake")] = with_handshake(joint, "들꽃", **changes)
    stopped = joint.failed()
    assert {error.reason for error in stopped.values()} == {"tampered"}
    assert set(stopped) >= {"바다병원", "Mountain Hospital"}


def test_a_handshake_by_somebody_who_is_no_member_is_refused(tmp_path: Path) -> None:
    joint = Joint(tmp_path, dealt(3), [TABLE])
    joint.runs.clear()
    stranger = Keys.new()
    body = Handshake(job=joint.job.job, hospital="들꽃", document=joint.digest, box=stranger.box_public).plain()
    joint.changes[("들꽃", "handshake")] = lambda _: sign("handshake", body, stranger)
    assert all("not signed by its node" in str(error) for name, error in joint.failed().items() if name != "들꽃")
    assert open_signed("handshake", joint.relay.passed[("들꽃", "handshake")]).key == joint.keys["들꽃"].public


# --- a hospital that lies


def rewritten(joint: Joint, name: str, label: str, change: Callable[[Any], Any]) -> Change:
    """What a hospital that holds the job key would send instead."""

    def lie(data: bytes) -> bytes:
        key, context = joint.runs[name]._key, f"{joint.digest}|{label}|{name}".encode()
        return seal(key, canonical(change(parse_canonical(unseal(key, data, context=context)))), context=context)

    return lie


def reworded(joint: Joint, name: str, label: str, change: Callable[[dict[str, Any], bytes], bytes]) -> Change:
    """The same of its message of a round: `change` makes a message of the head and the share."""

    def lie(data: bytes) -> bytes:
        key, context = joint.runs[name]._key, f"{joint.digest}|{label}|{name}".encode()
        head, _, share = unseal(key, data, context=context).partition(b"\n")
        return seal(key, change(parse_canonical(head), share), context=context)

    return lie


def from_elsewhere(head: dict[str, Any], share: bytes) -> bytes:
    """A share under the name of another step."""
    return canonical({**head, "under": sha256(b"another step")}) + b"\n" + share


def nudged(state: dict[str, Any]) -> dict[str, Any]:
    """A state with one number changed a little."""
    return {**state, "outcome_mean": state["outcome_mean"] * (1 + 1e-8)}


OTHER_STEPS: list[Callable[[Any], Any]] = [
    nudged,
    lambda state: {**state, "more": 1},
    lambda state: {"step": "done", "result": {}},
    lambda _: [1],
    lambda _: 7,
]


@pytest.mark.parametrize("change", OTHER_STEPS)
def test_a_lead_that_goes_on_from_another_step_is_caught_by_every_other(tmp_path: Path, change: Callable[[Any], Any]) -> None:
    joint = Joint(tmp_path, dealt(3), [GLM])
    joint.changes[(joint.lead, "q0r4")] = reworded(joint, joint.lead, "q0r4", from_elsewhere)
    joint.changes[(joint.lead, "q0r3s")] = rewritten(joint, joint.lead, "q0r3s", change)
    stopped = joint.failed()
    assert {name: error.reason for name, error in stopped.items()} == dict.fromkeys(joint.others, "disagreement")


@pytest.mark.parametrize(
    "change", [lambda state: {**state, "more": 1}, lambda state: {"step": "done", "result": {}}, lambda _: [1], lambda _: 7]
)
def test_a_lead_that_ends_a_question_in_another_way_is_caught_by_every_other(tmp_path: Path, change: Callable[[Any], Any]) -> None:
    joint = Joint(tmp_path, dealt(3), [TABLE])
    joint.changes[(joint.lead, "q0r1s")] = rewritten(joint, joint.lead, "q0r1s", change)
    stopped = joint.failed()
    assert {name: error.reason for name, error in stopped.items()} == dict.fromkeys(joint.others, "disagreement")


@pytest.mark.parametrize("who", [0, 1])
def test_where_steps_differ_in_name_the_round_is_taken_again_from_the_leads(tmp_path: Path, who: int) -> None:
    """As where the logarithms of two machines differ in their last digit."""
    plain = results(Joint(tmp_path, dealt(3), [GLM], number="0").sealed()["들꽃"])[0]
    joint = Joint(tmp_path, dealt(3), [GLM], number="1")
    name = list(joint.tables)[who]
    joint.changes[(name, "q0r4")] = reworded(joint, name, "q0r4", from_elsewhere)
    sealed = joint.sealed()
    assert len({one.data for one in sealed.values()}) == 1
    assert results(sealed["들꽃"])[0]["coefficients"] == plain["coefficients"]
    assert {label for _, label in joint.relay.passed if label.endswith(("s", "b"))} == {"q0r3s", "q0r4b", f"q0r{plain['rounds']}s"}
    first, again = (joint.relay.passed[(name, label)] for label in ("q0r4", "q0r4b"))
    assert first[-64:] != again[-64:]  # masked anew


def test_a_hospital_that_never_goes_on_from_the_agreed_step_stops_the_job(tmp_path: Path) -> None:
    joint = Joint(tmp_path, dealt(3), [GLM])
    for label in ("q0r2", "q0r2b"):
        joint.changes[("들꽃", label)] = reworded(joint, "들꽃", label, from_elsewhere)
    assert {error.reason for error in joint.failed().values()} == {"tampered"}


def more_people(document: dict[str, Any]) -> dict[str, Any]:
    first = document["analyses"][0]
    return {**document, "analyses": [{**first, "cells": [{**first["cells"][0], "n": 901}, *first["cells"][1:]]}]}


@pytest.mark.parametrize(
    "change",
    [
        more_people,
        lambda document: {**document, "case": "0" * 32},
        lambda document: {**document, "smallest_cell": 1},
        lambda document: {**document, "note": "x"},
        lambda document: {**document, "salt": ""},
        lambda document: {key: value for key, value in document.items() if key != "salt"},
        lambda document: [document],
        lambda _: None,
    ],
)  # fmt: skip
def test_a_lead_that_sends_another_result_is_caught_by_every_other(tmp_path: Path, change: Callable[[Any], Any]) -> None:
    joint = Joint(tmp_path, dealt(3), [TABLE])
    joint.changes[(joint.lead, "result")] = rewritten(joint, joint.lead, "result", change)
    outcome = joint.run()
    assert {name: getattr(outcome[name], "reason", None) for name in joint.others} == dict.fromkeys(joint.others, "disagreement")


def saying(**changes: Any) -> Callable[[dict[str, Any], bytes], bytes]:
    return lambda head, share: canonical({**head, **changes}) + b"\n" + share


@pytest.mark.parametrize(
    "change",
    [
        lambda head, share: canonical(head) + b"\n" + share[:-16],
        lambda head, share: canonical(head) + b"\n" + share[:-1],
        lambda head, share: canonical(head) + b"\n",
        lambda head, share: canonical(head),
        lambda head, share: share,
        lambda head, share: b"\n" + share,
        lambda head, share: canonical([head]) + b"\n" + share,
        lambda head, share: canonical({"under": head["under"]}) + b"\n" + share,
        lambda head, share: canonical(head) + b"\n" + bytes(len(share)),
        saying(under=5),
        saying(refused="no"),
        saying(refused=[3]),
        saying(refused=["too few people"]),
        saying(refused=["too few people"], reasons=["patient"]),
        saying(refused=["too few people"], reasons=[["smallest-cell"]]),
        saying(more=1),
    ],
)
def test_a_hospital_that_sends_no_share_of_this_round_stops_the_job(
    tmp_path: Path, change: Callable[[dict[str, Any], bytes], bytes]
) -> None:
    joint = Joint(tmp_path, dealt(3), [TABLE])
    joint.changes[("들꽃", "q0r1")] = reworded(joint, "들꽃", "q0r1", change)
    stopped = joint.failed()
    assert set(stopped) == set(joint.tables) and {error.reason for error in stopped.values()} == {"tampered"}


@pytest.mark.parametrize("message", [{}, [], "key", {"들꽃": 5}, {"들꽃": ""}, {"들꽃": b64(bytes(60))}])
def test_a_lead_that_gives_no_key_stops_the_job(tmp_path: Path, message: Any) -> None:
    joint = Joint(tmp_path, dealt(3), [TABLE])
    joint.changes[(joint.lead, "key")] = lambda _: canonical(message)
    assert joint.failed()["들꽃"].reason == "tampered"


def test_a_lead_that_gives_a_key_of_another_length_stops_the_job(tmp_path: Path) -> None:
    joint = Joint(tmp_path, dealt(2), [TABLE])

    def short(_: bytes) -> bytes:
        masks = joint.runs[joint.lead]._masks
        assert masks is not None
        wrap = derive(masks._pair_keys["바다병원"], salt=b"", info="pumasi/job-key/v1")
        return canonical({"바다병원": b64(seal(wrap, b"sixteen bytes...", context=f"{joint.digest}|key|{joint.lead}".encode()))})

    joint.changes[(joint.lead, "key")] = short
    assert "another length than a key" in str(joint.failed()["바다병원"])


# --- refusals


def test_what_one_hospital_refuses_all_refuse_with_its_reason_and_no_number(tmp_path: Path) -> None:
    tables = dealt(3)
    joint = Joint(tmp_path, tables, [GLM, TABLE], halves={"들꽃": Refusing({"patients": frame(tables["들꽃"], LEVELS)})})
    outcome = joint.sealed()
    assert len({sealed.digest for sealed in outcome.values()}) == 1
    for analysis in results(outcome[joint.lead]):
        assert (analysis["refused"], analysis["reasons"]) == ([secure.TOO_LARGE], ["beyond-measure"])
        assert analysis.keys() - {"by"} == {"name", "kind", "table", "rounds", "refused", "reasons", "hospitals"}


def test_a_hospital_that_refuses_without_a_reason_of_the_list_ends_the_job_and_tells_nobody(tmp_path: Path) -> None:
    """Its own trouble is for its own log: no other hospital gets a sentence that no limit has made."""

    class Troubled(Local):
        def local(self, question: dict[str, Any], state: dict[str, Any]) -> list[float]:
            raise Refused("the disk of ward 7 is full")

    tables = dealt(3)
    joint = Joint(tmp_path, tables, [TABLE], halves={"들꽃": Troubled({"patients": frame(tables["들꽃"], LEVELS)})})
    outcome = joint.run()
    assert isinstance(outcome["들꽃"], Refused) and all(isinstance(outcome[name], Failed) for name in outcome if name != "들꽃")
    assert all("ward 7" not in str(error) for name, error in outcome.items() if name != "들꽃")


def test_a_value_outside_the_agreed_levels_refuses_the_analysis_without_naming_it(tmp_path: Path) -> None:
    tables = dealt(3)
    tables["들꽃"] = tables["들꽃"].assign(conscious=["MARKER", *tables["들꽃"].conscious[1:]])
    joint = Joint(tmp_path, tables, [TABLE, DESCRIBE])
    table, described = results(joint.sealed()[joint.lead])
    assert len(table["refused"]) == 1 and "'conscious' holds a value" in table["refused"][0] and "MARKER" not in table["refused"][0]
    assert "refused" not in described


@pytest.mark.parametrize("hospitals", [2, 3])
def test_between_two_hospitals_each_is_judged_alone(tmp_path: Path, hospitals: int) -> None:
    """One hospital has 5 unconscious people, all together have many: with three the sum counts, with two each one's share."""
    tables = dealt(hospitals)
    last = NAMES[hospitals - 1]
    tables[last] = tables[last].assign(conscious=["unconscious"] * 5 + ["full"] * (len(tables[last]) - 5))
    model = results(next(iter(Joint(tmp_path, tables, [GLM]).sealed().values())))[0]
    if hospitals == 3:
        assert "coefficients" in model
    else:
        assert "coefficients" not in model
        assert not any(character.isdigit() for reason in model["refused"] for character in reason.replace("death14", ""))


def test_a_model_of_too_few_people_is_refused_by_every_hospital_alike(tmp_path: Path) -> None:
    tables = dealt(3, patients().iloc[:24])
    outcome = Joint(tmp_path, tables, [GLM, DESCRIBE]).sealed()
    assert len({sealed.digest for sealed in outcome.values()}) == 1
    assert results(next(iter(outcome.values())))[0]["refused"]


# --- permits, findings, what is known


def test_a_permit_that_ends_in_the_middle_stops_the_job(tmp_path: Path) -> None:
    asked = []

    def ends() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise Failed("permit", "the permit ended while the job ran")

    joint = Joint(tmp_path, dealt(3), [GLM], still_allowed={"들꽃": ends})
    stopped = joint.failed()
    assert {name: error.reason for name, error in stopped.items()} == {"들꽃": "permit"}
    assert not any(label == "q0r3" for sender, label in joint.relay.passed if sender == "들꽃")


def rare(rows: int = 4) -> dict[str, pd.DataFrame]:
    """As dealt, with few people who are unconscious and take aspirin."""
    table = patients().copy()
    table.loc[(table.conscious == "unconscious") & (table.aspirin == 1), "conscious"] = "full"
    chosen = table.index[table.aspirin == 1][:rows]
    table.loc[chosen, "conscious"] = "unconscious"
    return dealt(3, table)


def test_small_cells_are_left_out_and_the_reviewers_are_told(tmp_path: Path) -> None:
    clear = Joint(tmp_path, dealt(3), [TABLE], number="1").sealed()
    assert {tuple(sealed.findings) for sealed in clear.values()} == {("clear",)}
    outcome = Joint(tmp_path, rare(), [TABLE], number="2").sealed()
    assert len({(sealed.digest, tuple(sealed.findings)) for sealed in outcome.values()}) == 1
    sealed = next(iter(outcome.values()))
    hidden = {(cell["aspirin"], cell["conscious"]) for cell in results(sealed)[0]["cells"] if cell["n"] is None}
    assert (1, "unconscious") in hidden and len(hidden) > 1
    assert any("suppressed" in finding for finding in sealed.findings)
    assert not any(character.isdigit() for finding in sealed.findings for character in finding if character == "4")


def test_what_a_job_published_limits_what_a_later_one_may(tmp_path: Path) -> None:
    by_conscious = {**TABLE, "name": "margin", "by": ["conscious"]}
    alone = Joint(tmp_path, rare(), [by_conscious], number="1").sealed()
    assert all(cell["n"] is not None for cell in results(next(iter(alone.values())))[0]["cells"])
    first = Joint(tmp_path, rare(), [TABLE], number="2").sealed()
    known = next(iter(first.values())).known
    assert all(sealed.known == known for sealed in first.values())
    cells = {tuple(cell[key] for key in ("aspirin", "conscious")): cell["n"] for cell in known[0]["cells"]}
    assert cells[("1", "unconscious")] is None
    later = next(iter(Joint(tmp_path, rare(), [by_conscious], number="3", earlier=known).sealed().values()))
    margins = {cell["conscious"]: cell["n"] for cell in results(later)[0].get("cells", [])}
    for level in LEVELS["conscious"]:
        unknown = [key for key, n in cells.items() if n is None and key[1] == level]
        if len(unknown) == 1:  # the margin would give away the one cell that is missing below it
            assert margins.get(level) is None


def test_questions_are_answered_one_after_the_other_and_a_refused_one_does_not_stop_the_rest(tmp_path: Path) -> None:
    lonely = {**GLM, "name": "too many", "formula": "death14 ~ aspirin * conscious * age"}
    joint = Joint(tmp_path, dealt(3, patients().iloc[:90]), [lonely, TABLE])
    one, two = results(joint.sealed()[joint.lead])
    assert one["name"] == "too many" and one["refused"]
    assert two["name"] == "who was treated" and ("cells" in two or "refused" in two)
