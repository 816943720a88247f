"""Nothing about a bundle can be changed unnoticed: bytes by the thousand, every kind of value, every entry, document and proof.

The mutated case is closed, small and has another case beside it in the log. What stays valid JSON is written canonically again, so
that each change meets the checks behind the first one.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pumasi.kernel.envelope import Keys, sign
from pumasi.ledger import note, verify
from pumasi.ledger.tree import Tree, leaf_hash
from tests.casebook import ORIGIN, Casebook, play

SEED = 20260302


def small() -> Casebook:
    book = Casebook("mutations", hospitals=2, drb=1)
    book.staffed = book.hospitals
    return book.play()


BOOK = small()
DATA = BOOK.bundle()
VALUE = json.loads(DATA)
POLICY = verify.read_policy(BOOK.policy(quorum=3).encode())


def refused(data: bytes) -> bool:
    """Whether the verifier says no; any other exception fails the test."""
    try:
        verify.verify(data)
    except verify.Broken as broken:
        assert all(isinstance(reason, str) and reason for reason in broken.reasons)
        return bool(broken.reasons)
    return False


def written(value: Any) -> bytes:
    return verify.canonical(value)


def test_unchanged_it_passes() -> None:
    assert not refused(DATA)
    assert written(VALUE) == DATA
    assert verify.policy_refusals(POLICY, verify.verify(DATA)) == []


# --- bytes -----------------------------------------------------------------------------------------------------------


def test_flipped_bits_anywhere_are_refused() -> None:
    chance = random.Random(SEED)
    for position in chance.sample(range(len(DATA)), 1200):
        flipped = bytearray(DATA)
        flipped[position] ^= 1 << chance.randrange(8)
        assert refused(bytes(flipped)), position


ALIKE = ["0123456789", "abcdef", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "ghijklmnopqrstuvwxyz"]


def test_bytes_exchanged_for_others_of_their_kind_are_refused() -> None:
    chance = random.Random(SEED + 1)
    for position in chance.sample(range(len(DATA)), 800):
        kind = next((kind for kind in ALIKE if chr(DATA[position]) in kind), None)
        if kind is None:
            continue
        other = chance.choice([letter for letter in kind if letter != chr(DATA[position])])
        assert refused(DATA[:position] + other.encode() + DATA[position + 1 :]), position


def test_truncated_extended_and_repeated_files_are_refused() -> None:
    chance = random.Random(SEED + 2)
    for length in [0, 1, len(DATA) - 1, *chance.sample(range(len(DATA)), 100)]:
        assert refused(DATA[:length])
    for more in (b"\n", b" ", b"\x00", b"}", DATA):
        assert refused(DATA + more)


# --- every kind of value ---------------------------------------------------------------------------------------------

Path_ = tuple[str | int, ...]


def leaves(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from leaves(item, (*path, name))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from leaves(item, (*path, at))
    if not isinstance(value, (dict, list)) or not value:
        yield path, value


def containers(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    if isinstance(value, (dict, list)):
        yield path
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from containers(item, (*path, name))


def kind_of(path: Path_) -> str:
    """Where a value stands, whichever entry or document it is in; events apart by their type."""
    event = VALUE["entries"][path[1]]["event"]["body"]["type"] if path[0] == "entries" and len(path) > 1 else ""
    return event + "/".join("*" if isinstance(part, int) or part in VALUE["documents"] else part for part in path)


def replaced(path: Path_, item: Any) -> bytes:
    value = copy.deepcopy(VALUE) if len(path) < 2 else {**VALUE, path[0]: copy.deepcopy(VALUE[path[0]])}  # type: ignore[dict-item]
    target: Any = value
    for part in path[:-1]:
        target = target[part]
    target[path[-1]] = item
    return written(value)


def other_than(item: Any, chance: random.Random) -> Any:
    """A value close to this one, or of another type."""
    match item:
        case bool():
            return chance.choice([not item, None])
        case int():
            return chance.choice([item + 1, item - 1, str(item)])
        case str():
            at = chance.randrange(len(item) + 1)
            return chance.choice([item[:at] + "0" + item[at:], item[1:] or "x", item + " ", None])
        case None:
            return chance.choice([0, "", False])
        case _:
            return chance.choice([[None], {"a": 1}])


def test_every_kind_of_value_is_bound() -> None:
    chance = random.Random(SEED + 3)
    known: dict[str, list[tuple[Path_, Any]]] = {}
    for path, item in leaves(VALUE):
        known.setdefault(kind_of(path), []).append((path, item))
    assert len(known) > 150
    for kind, places in known.items():
        path, item = chance.choice(places)
        other = other_than(item, chance)
        assert refused(replaced(path, other)), (kind, item, other)


def test_an_unknown_field_in_any_object_is_refused() -> None:
    chance = random.Random(SEED + 4)
    known: dict[str, list[Path_]] = {}
    for path in containers(VALUE):
        known.setdefault(kind_of(path) if path else "", []).append(path)
    for kind, places in known.items():
        path = chance.choice(places)
        value = copy.deepcopy(VALUE)
        target: Any = value
        for part in path:
            target = target[part]
        if isinstance(target, dict):
            target["unknown"] = None
        else:
            target.append(None)
        assert refused(written(value)), kind


# --- entries, documents, proofs ----------------------------------------------------------------------------------------

COUNT = len(VALUE["entries"])


def entries_as(entries: list[Any]) -> bytes:
    return written({**VALUE, "entries": entries})


def test_every_entry_is_needed_once_and_in_its_place() -> None:
    entries = VALUE["entries"]
    for at in range(COUNT):
        assert refused(entries_as(entries[:at] + entries[at + 1 :])), at
        assert refused(entries_as([*entries[: at + 1], *entries[at:]])), at
        moved = {**entries[at], "index": entries[at]["index"] + 1}
        assert refused(entries_as([*entries[:at], moved, *entries[at + 1 :]])), at


def test_neighbours_cannot_be_swapped() -> None:
    entries = VALUE["entries"]
    for at, (one, two) in enumerate(pairwise(entries)):
        assert refused(entries_as([*entries[:at], two, one, *entries[at + 2 :]])), at
        renumbered = [{**two, "index": one["index"]}, {**one, "index": two["index"]}]
        assert refused(entries_as([*entries[:at], *renumbered, *entries[at + 2 :]])), at
        proofs = [{**one, "proof": two["proof"]}, {**two, "proof": one["proof"]}]
        assert one["proof"] == two["proof"] or refused(entries_as([*entries[:at], *proofs, *entries[at + 2 :]])), at
        events = [{**one, "event": two["event"]}, {**two, "event": one["event"]}]
        assert refused(entries_as([*entries[:at], *events, *entries[at + 2 :]])), at


def test_an_event_signed_again_by_another_key_is_refused() -> None:
    stranger = Keys.new()
    for at, entry in enumerate(VALUE["entries"]):
        for keys in (stranger, BOOK.keys_of(BOOK.hospitals[0])):
            event = json.loads(sign("event", entry["event"]["body"], keys))
            changed = [*VALUE["entries"][:at], {**entry, "event": event}, *VALUE["entries"][at + 1 :]]
            assert event == entry["event"] or refused(entries_as(changed)), at


def test_a_log_rebuilt_around_a_changed_event_is_refused() -> None:
    """Somebody who holds the log's key can rebuild the tree and sign it, but not the events of others."""
    cosignatures = note.parse_checkpoint(VALUE["checkpoint"]).lines[1:]
    for at, entry in enumerate(VALUE["entries"]):
        event = copy.deepcopy(entry["event"])
        event["body"]["at"] = "2026-03-02T23:59:59Z"
        log = list(BOOK.log)
        log[entry["index"]] = written(event)
        tree = Tree()
        for data in log:
            tree.append(leaf_hash(data))
        text = note.sign_checkpoint(ORIGIN, size=tree.size, root=tree.root(), key=BOOK.log_key)
        items = [
            {"index": item["index"], "event": event if item is entry else item["event"],
             "proof": [note.b64(step) for step in tree.inclusion_proof(item["index"])]}
            for item in VALUE["entries"]
        ]  # fmt: skip
        assert refused(written({**VALUE, "entries": items, "checkpoint": text})), at
        assert cosignatures


def test_every_document_is_needed_and_its_own() -> None:
    documents = VALUE["documents"]
    for name, document in documents.items():
        assert refused(written({**VALUE, "documents": {key: item for key, item in documents.items() if key != name}}))
        for other in documents.values():
            assert other is document or refused(written({**VALUE, "documents": {**documents, name: other}}))
    assert refused(written({**VALUE, "documents": {}}))


def test_the_head_is_bound_to_the_case() -> None:
    for size in range(1, BOOK.tree.size):
        assert refused(written({**VALUE, "checkpoint": BOOK.checkpoint(size, cosigners=[])})), size
    other = play(seed="another consortium")
    assert refused(written({**VALUE, "checkpoint": other.checkpoint()}))
    head = note.parse_checkpoint(VALUE["checkpoint"])
    for root in (bytes(32), BOOK.tree.root(BOOK.tree.size - 1)):
        text = note.sign_checkpoint(ORIGIN, size=head.size, root=root, key=BOOK.log_key)
        assert refused(written({**VALUE, "checkpoint": text}))


def test_cosignatures_cannot_be_taken_away_under_a_policy_nor_moved() -> None:
    head = note.parse_checkpoint(VALUE["checkpoint"])
    for keep in range(6):
        lines = head.lines[: 1 + keep]
        data = written({**VALUE, "checkpoint": str(note.Checkpoint(head.origin, head.size, head.root, lines))})
        assert bool(verify.policy_refusals(POLICY, verify.verify(data))) is (keep < 3)
    for at in range(1, len(head.lines)):
        stolen = note.SignatureLine(head.lines[at].name, head.lines[at].key_id, head.lines[at % 5 + 1].signature)
        lines = (*head.lines[:at], stolen, *head.lines[at + 1 :])
        assert refused(written({**VALUE, "checkpoint": str(note.Checkpoint(head.origin, head.size, head.root, lines))}))


def test_a_whole_other_history_passes_only_without_a_policy() -> None:
    """Whoever invents everybody's keys can write a consistent case: that is what NOT PINNED says, and what a policy is for."""
    invented = Casebook("an invention", hospitals=1, drb=1)
    invented.staffed = invented.hospitals
    verified = verify.verify(invented.play().bundle())
    assert len(verify.policy_refusals(POLICY, verified)) == 2
    assert verify.report(verified, pinned=False)[-1] == "KEYS NOT PINNED (consistent, not authentic)"


# --- whatever comes ------------------------------------------------------------------------------------------------------

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(max_size=20)
    | st.sampled_from(["00" * 32, "AAAA", "consortium"])
)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=8
)
PLACES = sorted({kind_of(path): path for path in [*containers(VALUE), *(path for path, _ in leaves(VALUE))] if path}.values(), key=str)


@given(st.sampled_from(PLACES), anything)
@settings(max_examples=150, deadline=None)
def test_anything_anywhere_is_refused_without_a_fault(path: Path_, item: Any) -> None:
    data = replaced(path, item)
    assert data == DATA or refused(data)


@given(st.binary(max_size=200) | anything.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_refused_without_a_fault(data: bytes) -> None:
    assert refused(data)


@given(st.text(max_size=80) | st.from_regex(r"\A(log|witness|group|quorum|#| )[ \tabk0-9+]{0,20}\n\Z"))
@settings(max_examples=100, deadline=None)
def test_any_policy_is_read_or_refused_without_a_fault(text: str) -> None:
    try:
        read = verify.read_policy(text.encode("utf-8", "surrogatepass"))
    except verify.Broken:
        return
    assert read.reached(read.quorum[0], set()) is (read.quorum == ["none"])


def test_the_command_ends_with_one_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bundle").write_bytes(DATA[:-1])
    assert verify.main([str(tmp_path / "bundle")]) == 1
    assert capsys.readouterr().out.startswith("NOT VERIFIED\n- ")
