"""The page and verify.py are two implementations of one rule: same verdict and same sentences on every bundle, whole or broken."""

from __future__ import annotations

import base64
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
from playwright.sync_api import Page

from pumasi.kernel import codes
from pumasi.kernel import event as ev
from pumasi.kernel.envelope import sign
from pumasi.ledger import note, verify
from tests.casebook import RESEARCHER, STEPS, play, play_certified
from tests.property import test_bundle_mutations as mutations
from tests.unit import test_verify as cases
from tests.unit.test_note import BAD_POLICIES
from tests.unit.test_verify_erased import without_documents

JUDGE = """async ([bundle, policy, mayBeOpen, mayBeErased]) => {
  const judged = await judge(bytesOf(bundle), policy === null ? null : bytesOf(policy), { mayBeOpen, mayBeErased });
  if (judged.verdict !== "holds") return [judged.verdict, judged.reasons.map((reason) => spoken(reason))];
  const { title, proven, hospitals, ofLog, notProven, fingerprints } = judged.report;
  const ofHospitals = hospitals.flatMap(({ name, sentences }) => sentences.map((sentence) => `${name}: ${spoken(sentence)}`));
  const keys = fingerprints.map(({ name, fingerprint }) => `${fingerprint} ${spoken(name)}`);
  return ["holds", [title, ...proven, ...ofHospitals, ...ofLog, ...notProven, ...keys].map((sentence) => spoken(sentence))];
}"""
JUDGE_ALL = f"async (items) => {{ const out = []; for (const item of items) out.push(await ({JUDGE})(item)); return out; }}"
# What a parser calls unreadable and what it reads and finds wrongly written differs even between versions of Python.
ALIKE = {
    "the file is not in canonical form (RFC 8785): its bytes were changed": "the file is not JSON as Pumasi writes it",
    "a base64 value has the wrong form or length": "a value is not base64",
}


GOLDEN = Path(__file__).parents[1] / "golden"
FINGERPRINT = re.compile("  ([0-9a-f]{4}-){3}[0-9a-f]{4}  ")


class Asked(NamedTuple):
    data: bytes
    policy: bytes | None = None
    may_be_open: bool = False
    may_be_erased: bool = False


class Answer(NamedTuple):
    verdict: str
    sentences: list[str]


def by_command(asked: Asked) -> Answer:
    """What verify.py says."""
    try:
        policy = None if asked.policy is None else verify.read_policy(asked.policy)
    except verify.Broken as broken:
        return Answer("unreadable", list(broken.reasons))
    try:
        verified = verify.verify(asked.data, may_be_open=asked.may_be_open, may_be_erased=asked.may_be_erased)
    except verify.Broken as broken:
        return Answer("broken", list(broken.reasons))
    refused = [] if policy is None else verify.policy_refusals(policy, verified)
    return Answer("broken", refused) if refused else Answer("holds", facts(verified, pinned=policy is not None))


def facts(verified: verify.Verified, *, pinned: bool) -> list[str]:
    """The report's statements, each in one line. The page names cosigners as members, and says above the facts what is missing."""
    lines: list[str] = []
    for line in verify.report(verified, pinned=pinned):
        if line.startswith("- ") or line.startswith("VERIFIED"):
            lines.append(line.removeprefix("- ").removeprefix("VERIFIED: "))
        elif FINGERPRINT.match(line):
            lines.append(" ".join(line.split(maxsplit=1)))
        elif line.startswith("  ") and "NOT WITNESSED" not in line:
            lines[-1] += line[1:]
    for member in verified.history.members:
        lines = [line.replace(note.cosigner_name(verified.log.name, member), member) for line in lines]
    return lines


def by_page(checker: Page, asked: list[Asked]) -> list[Answer]:
    """What the page says; a handful of bundles at a time, because they travel as text."""
    items = [[encoded(data), None if policy is None else encoded(policy), *accepted] for data, policy, *accepted in asked]
    handfuls = [checker.evaluate(JUDGE_ALL, items[at : at + 20]) for at in range(0, len(items), 20)]
    return [Answer(*answer) for handful in handfuls for answer in handful]


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def leniently(answer: Answer) -> Answer:
    sentences = answer.sentences
    for one, other in ALIKE.items():
        sentences = [sentence.replace(one, other) for sentence in sentences]
    return Answer(answer.verdict, sentences)


def agreed(checker: Page, asked: dict[str, Asked]) -> Counter[str]:
    """Both say the same to each; how often which verdict."""
    answers = [by_command(item) for item in asked.values()]
    for name, theirs, ours in zip(asked, by_page(checker, list(asked.values())), answers, strict=True):
        assert leniently(theirs) == leniently(ours), name
    return Counter(answer.verdict for answer in answers)


# --- whole bundles ---


@pytest.mark.parametrize("make", [play, play_certified])
def test_on_bundles_without_documents_that_were_erased(checker: Page, make: Any) -> None:
    book = make()
    for accepted, verdict in ((True, "holds"), (False, "broken")):
        asked = {name: Asked(data, may_be_erased=accepted) for name, data in without_documents(book).items()}
        assert agreed(checker, asked) == {verdict: len(asked)}


def test_on_every_stage_of_a_case(checker: Page) -> None:
    stages = STEPS[STEPS.index("submitted") :]
    running = {f"{step}, open": Asked(play(until=step).bundle(), may_be_open=True) for step in stages}
    assert agreed(checker, running) == {"holds": len(stages)}
    closed = {step: Asked(play(until=step).bundle()) for step in stages[-3:]}
    assert agreed(checker, closed) == {"holds": 1, "broken": 2}


def test_on_the_bundles_of_every_version(checker: Page) -> None:
    bundles = sorted(GOLDEN.glob("*.json"))
    asked = {file.stem: Asked(file.read_bytes()) for file in bundles}
    asked |= {f"{file.stem}, policy": Asked(file.read_bytes(), file.with_suffix(".policy").read_bytes()) for file in bundles}
    assert bundles
    assert agreed(checker, asked) == {"holds": len(asked)}


def test_on_cases_that_went_another_way(checker: Page) -> None:
    one_sided = play(until="done")
    one_sided.say(ev.WorkspaceDestroyed, cases.FIRST, certificate=one_sided.certificate(cases.FIRST))
    withdrawn = play(until="committed")
    withdrawn.say(ev.ApplicationWithdrawn, RESEARCHER)
    withdrawn.closed()
    books = [one_sided, withdrawn, play(release="automatic-if-clear"), play(hospitals=1), play(hospitals=5), play(drb=1), play(drb=6)]
    unwitnessed = play().bundle(checkpoint=play().checkpoint(cosigners=[]))
    asked = {str(at): Asked(book.bundle(), may_be_open=True) for at, book in enumerate(books)} | {"unwitnessed": Asked(unwitnessed)}
    assert agreed(checker, asked) == {"holds": len(asked)}


def test_on_a_log_that_changed_hands(checker: Page) -> None:
    """With the policy of the first day, with today's, with one that asks for more signatures than the handover has, and with none."""
    first = play().policy(quorum=4).encode()
    asked: dict[str, Asked] = {}
    for name, change in {
        "all": lambda book: book.hand_over(),
        "four": lambda book: book.hand_over(signers=list(book.cosigners)[:4]),
        "another body": lambda book: book.hand_over("another body"),
        "rotated": lambda book: book.rotate_log(),
        "rotated after": lambda book: (book.hand_over(), book.rotate(cases.FIRST), book.rotate_log()),
        "twice": lambda book: (book.hand_over(), book.hand_over("가나 기관")),
    }.items():
        book = play(until="opened")
        change(book)
        policies = {"first": first, "own": book.policy(quorum=5).encode(), "five": play().policy(quorum=5).encode(), "none": None}
        asked |= {f"{name}, {which}": Asked(book.bundle(), policy, may_be_open=True) for which, policy in policies.items()}
    assert agreed(checker, asked) == {"holds": 23, "broken": 1}


def test_on_witnesses_outside_the_membership(checker: Page) -> None:
    witnessed = (GOLDEN / "bundle-witnessed.json").read_bytes()
    value = json.loads(witnessed)
    (vkey,) = value["witnesses"]
    name, key_id, data = vkey.split("+", 2)
    member = json.loads(play().bundle())["entries"][1]["event"]["body"]["key"]
    stolen = note.VKey(name, note.COSIGNER, base64.b64decode(member))
    bare = "".join(line for line in value["checkpoint"].splitlines(keepends=True) if name not in line)
    changes: dict[str, dict[str, Any]] = {
        "twice": {"witnesses": [vkey, vkey]}, "none": {"witnesses": []}, "of version 1": {"format": "pumasi bundle v1"},
        "not named": {"witnesses": [str(note.VKey("x.example/w", note.COSIGNER, bytes(32)))]}, "without its line": {"checkpoint": bare},
        "a member's key": {"witnesses": [str(stolen)]}, "another id": {"witnesses": [f"{name}+00000000+{data}"]},
        "a log's": {"witnesses": [str(note.VKey(name, note.LOG, bytes(32)))]}, "no key": {"witnesses": ["\n"]},
        "a number": {"witnesses": [1]},
    }  # fmt: skip
    asked = {what: Asked(verify.canonical(value | change)) for what, change in changes.items()}
    assert agreed(checker, asked) == {"broken": len(asked)}
    assert key_id == note.VKey.parse(vkey).key_id.hex()
    assert agreed(checker, {"whole": Asked(witnessed), "policy": Asked(witnessed, (GOLDEN / "bundle-witnessed.policy").read_bytes())}) == {
        "holds": 2
    }


# --- what is refused ---


def test_on_every_step_and_document_that_is_refused(checker: Page) -> None:
    asked: dict[str, Asked] = {}
    for name, (step, force) in cases.ILLEGAL.items():
        book = play(until="sealed", release="automatic-if-clear") if step == "automatic" else play(until=step)
        force(book)
        if any(json.loads(data)["body"]["case"] == book.case for data in book.log):  # else there is no case to bundle yet
            asked[name] = Asked(book.bundle(), may_be_open=True)
    asked |= {name: Asked(make().bundle(), may_be_open=True) for name, (make, _) in cases.DOCUMENTS.items()}
    handovers = {name: make(play(until="opened")) for name, (make, _) in cases.HANDOVERS.items()}
    asked |= {f"handed over {name}": Asked(book.bundle(), may_be_open=True) for name, book in handovers.items()}
    assert agreed(checker, asked) == {"broken": len(asked)}
    assert len(asked) > 120


def test_on_a_log_that_takes_in_anything(checker: Page) -> None:
    """The tree and the head hold in all of these; the event is not signed by its author, or not at all."""
    asked: dict[str, Asked] = {}
    signed = json.loads(play(until="submitted").entry(ev.ApplicationWithdrawn, RESEARCHER).data)
    stranger = json.loads(sign("event", signed["body"], play().keys_of(cases.FIRST)))
    other = json.loads(play().log[0])
    for name, change in {
        "another signature": {"sig": other["sig"]},
        "another key": {"key": other["key"]},
        "a stranger's": {"sig": stranger["sig"], "key": stranger["key"]},
        "a weak key": {"key": encoded(bytes([1, *bytes(31)])), "sig": encoded(bytes([1, *bytes(63)]))},
        "no signature": {"sig": encoded(bytes(64))},
        "a short signature": {"sig": encoded(bytes(63))},
        "another body": {"body": signed["body"] | {"at": "2026-03-03T00:00:00Z"}},
    }.items():
        book = play(until="submitted")
        book.append_raw(verify.canonical(signed | change))
        asked[name] = Asked(book.bundle(), may_be_open=True)
    assert agreed(checker, asked) == {"broken": len(asked)}


def test_on_bytes_and_shapes(checker: Page) -> None:
    asked = {name: Asked(data) for name, data in cases.BYTES.items()}
    asked |= {name: Asked(cases.changed(change)) for name, change in cases.SHAPES.items()}
    assert agreed(checker, asked) == {"broken": len(asked)}


def test_on_events_of_no_known_form(checker: Page) -> None:
    asked: dict[str, Asked] = {}
    authors = [" x", "x\xa0y", "ᄀ\u1161", "\u202ex", "x" * 64, "x" * 65, "😀" * 64, "😀" * 65]
    days = ["2026-02-29", "2024-02-29", "1900-02-29", "2000-02-29", "0000-01-01", "2026-00-10", "2026-04-31", "2026-13-01"]
    instants = [f"{day}T00:00:00Z" for day in days] + [f"2026-03-03T{time}Z" for time in ("23:59:59", "24:00:01", "23:60:00", "23:59:60")]
    changes: list[dict[str, Any]] = [
        {"type": "constructor"},
        {"x": 1},
        {"__proto__": 1},
        {"seq": -1},
        {"seq": True},
        {"case": "toString"},
        {"prev": "AA" * 32},
        *({"author": author} for author in authors),
        *({"at": instant} for instant in [*instants, instants[0] + "\n"]),
    ]
    for change in changes:
        book = play(until="submitted")
        body = json.loads(book.entry(ev.ApplicationWithdrawn, RESEARCHER).data)["body"]
        book.append_raw(sign("event", body | change, book.keys_of(RESEARCHER)))
        asked[str(change)] = Asked(book.bundle(), may_be_open=True)
    found = agreed(checker, asked)
    assert set(found) == {"broken", "holds"}


# --- mutations of every class, by the hundred ---


def changed_bytes(chance: random.Random) -> Iterator[bytes]:
    data = mutations.DATA
    for position in chance.sample(range(len(data)), 60):
        yield data[:position] + bytes([data[position] ^ 1 << chance.randrange(8)]) + data[position + 1 :]
    for kind in mutations.ALIKE:
        for position in chance.sample([at for at, byte in enumerate(data) if chr(byte) in kind], 8):
            yield data[:position] + chance.choice(kind.replace(chr(data[position]), "")).encode() + data[position + 1 :]
    yield from (data[: chance.randrange(len(data))] for _ in range(5))
    yield from (data + more for more in (b"\n", b"\x00", b"}", data))


def changed_values(chance: random.Random) -> Iterator[bytes]:
    known: dict[str, list[tuple[mutations.Path_, Any]]] = {}
    for path, item in mutations.leaves(mutations.VALUE):
        known.setdefault(mutations.kind_of(path), []).append((path, item))
    for kind in chance.sample(sorted(known), 90):
        path, item = chance.choice(known[kind])
        yield mutations.replaced(path, mutations.other_than(item, chance))


def changed_entries(chance: random.Random) -> Iterator[bytes]:
    entries = mutations.VALUE["entries"]
    for at in chance.sample(range(len(entries) - 1), 12):
        one, two = entries[at : at + 2]
        yield mutations.entries_as([*entries[:at], two, *entries[at + 2 :]])  # dropped
        yield mutations.entries_as([*entries[: at + 1], *entries[at:]])  # repeated
        yield mutations.entries_as([*entries[:at], two, one, *entries[at + 2 :]])  # reordered
        yield mutations.entries_as([*entries[:at], {**one, "event": two["event"]}, two, *entries[at + 2 :]])  # replaced
    yield mutations.entries_as(entries[:-1])  # truncated tail


def changed_documents(chance: random.Random) -> Iterator[bytes]:
    documents = mutations.VALUE["documents"]
    for name in chance.sample(sorted(documents), 5):
        other = documents[chance.choice(sorted(documents.keys() - {name}))]
        yield verify.canonical({**mutations.VALUE, "documents": {key: item for key, item in documents.items() if key != name}})
        yield verify.canonical({**mutations.VALUE, "documents": {**documents, name: other}})


def changed_heads(chance: random.Random) -> Iterator[bytes]:
    book = mutations.BOOK
    for size in chance.sample(range(1, book.tree.size), 8):  # rollback, stale checkpoint
        yield verify.canonical({**mutations.VALUE, "checkpoint": book.checkpoint(size)})
    head = note.parse_checkpoint(mutations.VALUE["checkpoint"])
    forked = note.sign_checkpoint(head.origin, size=head.size, root=bytes(32), key=book.log_key)
    yield verify.canonical({**mutations.VALUE, "checkpoint": forked})
    for at in range(1, len(head.lines)):  # swapped cosigner
        stolen = note.SignatureLine(head.lines[at].name, head.lines[at].key_id, head.lines[at % 5 + 1].signature)
        lines = (*head.lines[:at], stolen, *head.lines[at + 1 :])
        yield verify.canonical({**mutations.VALUE, "checkpoint": str(note.Checkpoint(head.origin, head.size, head.root, lines))})


def test_on_hundreds_of_mutations(checker: Page) -> None:
    chance = random.Random(mutations.SEED)
    classes = (changed_bytes, changed_values, changed_entries, changed_documents, changed_heads)
    asked = {f"{change.__name__} {at}": Asked(data) for change in classes for at, data in enumerate(change(chance))}
    assert agreed(checker, asked) == {"broken": len(asked)}
    assert len(asked) >= 200


# --- policies ---


def test_on_policies(checker: Page) -> None:
    book, data = cases.WHOLE, cases.WHOLE.bundle()
    few = book.bundle(checkpoint=book.checkpoint(cosigners=book.hospitals[:2]))
    log, *witnesses = (line for line in book.policy(quorum=0).splitlines() if line.startswith(("log ", "witness ")))
    a, b, c = (line.split()[1] for line in witnesses[:3])
    header = "\n".join(["# 정책", log + " https://log.example", *witnesses]) + "\n"
    good = {
        "none": "quorum none", "one": f"quorum {a}", "missing": f"quorum {c}", "two": f"group g 2 {a} {b} {c}\nquorum g",
        "three": f"group g 3 {a} {b} {c}\nquorum g", "nested": f"group g any {a} {c}\ngroup h all g {b}\nquorum h",
    }  # fmt: skip
    asked = {name: Asked(few, f"{header}{rules}\n".encode()) for name, rules in good.items()}
    asked["octets"] = Asked(few, f"# \xb0\xa1\n{log}\nquorum none\n".encode("latin-1"))
    asked["another log"] = Asked(data, play(seed="another consortium").policy(quorum=1).encode())
    asked["all"] = Asked(data, book.policy(quorum=5).encode())
    assert agreed(checker, asked) == {"holds": 6, "broken": 3}
    bad = {name: Asked(data, text.encode()) for name, text in BAD_POLICIES.items()}
    assert agreed(checker, bad) == {"unreadable": len(bad)}


@pytest.mark.parametrize("letter", ["\xa0", "\x85", "\u3000", "\u2028", "\ufeff", "\u200b", "é", "\udcff"])
def test_on_a_letter_in_the_name_of_a_key(checker: Page, letter: str) -> None:
    """Spaces of every kind are refused; what only looks like one, or is no UTF-8 (here a lone byte FF), is not."""
    key = verify.NoteKey(f"a{letter}b", verify.LOG, bytes(32))
    text = f"log {key.name}+{key.id.hex()}+{encoded(bytes([verify.LOG]) + key.public)}\nquorum none\n"
    found = agreed(checker, {letter: Asked(cases.WHOLE.bundle(), text.encode("utf-8", "surrogateescape"))})
    assert found == {"unreadable" if letter.isspace() else "broken": 1}


# --- the tables ---


def test_the_tables_are_those_of_the_command(checker: Page) -> None:
    table = "(table) => Object.entries(table).flatMap(([state, moves]) => Object.entries(moves).map(([verb, next]) => [state, verb, next]))"
    for name, moves in (("CASE_MOVES", verify.CASE_MOVES), ("PERMIT_MOVES", verify.PERMIT_MOVES), ("OUTPUT_MOVES", verify.OUTPUT_MOVES)):
        there = {(state, verb): after for state, verb, after in checker.evaluate(f"({table})({name})")}
        assert there == moves, name
    assert checker.evaluate("MAY") == verify.MAY
    assert checker.evaluate("AT_THE_END") == verify.AT_THE_END
    assert {role: tuple(words) for role, words in checker.evaluate("BOARDS").items()} == verify.BOARDS
    fields = checker.evaluate("Object.fromEntries(Object.entries(EVENTS).map(([name, fields]) => [name, Object.keys(fields)]))")
    assert {name: set(names) for name, names in fields.items()} == {name: set(names) for name, names in verify.EVENTS.items()}


CLOSED_LISTS = {
    "PURPOSE": codes.Purpose, "MEMBER_KIND": codes.MemberKind, "ROLE": codes.Role, "EVENTS.VoteCommitted.board": codes.Board,
    "EVENTS.VoteOpened.board": codes.Board, "EVENTS.VoteOpened.decision": codes.Decision, "EVENTS.IrbDecided.decision": codes.IrbDecision,
    "COLUMN_CLASS": codes.ColumnClass, "AGREED_COLUMN.kind": codes.ColumnKind, "KEEP": codes.Keep, "ANALYSIS": codes.AnalysisKind,
    "RELEASE_RULE": codes.ReleaseRule, "EVENTS.PermitEnded.reason": codes.EndReason, "FAILURE": codes.FailReason,
    "LEGAL_BASIS": codes.LegalBasis,
}  # fmt: skip


@pytest.mark.parametrize("shape", CLOSED_LISTS)
def test_the_closed_lists_are_those_of_the_kernel(checker: Page, shape: str) -> None:
    known = sorted({code for closed in CLOSED_LISTS.values() for code in get_args(closed)})
    assert set(checker.evaluate(f"(codes) => codes.filter({shape})", known)) == set(get_args(CLOSED_LISTS[shape]))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**53) + 1,
        2**53 - 1,
        "",
        '\x00\x1f"\\/\b\f\n\r\té\x7f\u2028\U0001f600',
        [],
        {},
        [{"\ue000": 1, "\U0001f600": 2, "é": [], "10": 0, "9": 0}],
    ],
)
def test_canonical_bytes_are_those_of_the_command(checker: Page, value: Any) -> None:
    assert checker.evaluate("(text) => base64(canonical(JSON.parse(text)))", json.dumps(value)) == encoded(verify.canonical(value))


def test_names_are_ordered_as_by_the_command(checker: Page) -> None:
    names = ["b", "a", "", "ab", "\uffee", "\U0001f600", "\U0001f600a", "가", "가가"]
    assert checker.evaluate("(names) => names.sort(byCodePoint)", names) == sorted(names)
