"""Twelve ways to lie about a history, each over logs, bundles, proofs and signed heads.

A mutation changes something at random, shows it to those whom it should deceive, and returns what they say against it; nothing said
means that it was believed. `CLASSES` names them all; `attempts` makes many.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from pumasi.kernel import event as ev
from pumasi.kernel.envelope import Keys, b64, canonical, sign
from pumasi.kernel.event import CONSORTIUM, Entry
from pumasi.ledger import note, proof
from tests.casebook import COORDINATOR, ORIGIN
from tests.torture.histories import COSIGNERS
from tests.torture.scene import Scene, grown, head_over

Mutation = Callable[[Scene, Random], list[str]]
STRANGER = Keys.new()


def _place(scene: Scene, chance: Random) -> int:
    """Some entry that the node has not heard yet."""
    return chance.randrange(scene.start, len(scene.log))


def _head(scene: Scene, log: list[bytes], chance: Random) -> str:
    """The head over what is served, or, when that fits its size, the true one."""
    return scene.head if len(log) == len(scene.log) and chance.random() < 0.5 else head_over(scene.book, log)


def _flipped(data: bytes, chance: Random) -> bytes:
    changed = bytearray(data)
    changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _changed(body: dict[str, Any], chance: Random) -> dict[str, Any]:
    """An event's body with one field changed into another that looks the same."""
    name = chance.choice([name for name, value in body.items() if isinstance(value, str | int) and name not in ("case", "type")])
    value = body[name]
    if isinstance(value, int):
        return {**body, name: value + chance.choice([1, 2, 10])}
    at = chance.randrange(len(value))
    other = chance.choice([letter for letter in ("0123456789" if value[at].isdigit() else "abcdef") if letter != value[at]])
    return {**body, name: value[:at] + other + value[at + 1 :]}


def _resigned(data: bytes, chance: Random, scene: Scene) -> bytes:
    """One field changed, then signed by whoever the hub can be, or with the old signature."""
    signed = json.loads(data)
    body = _changed(signed["body"], chance)
    keys = chance.choice([STRANGER, scene.book.keys_of(COORDINATOR), None])
    if keys is None or keys.public == signed["key"]:
        return canonical({**signed, "body": body})
    return sign("event", body, keys)


def _with(value: dict[str, Any], at: int, entry: dict[str, Any]) -> dict[str, Any]:
    return {**value, "entries": [*value["entries"][:at], entry, *value["entries"][at + 1 :]]}


def _rebuilt(scene: Scene, log: list[bytes], shown: list[tuple[int, bytes]], lines: bool = False) -> dict[str, Any]:
    """A bundle whose tree and head fit a changed log; only the hospitals' cosignatures cannot be had for it."""
    tree, head = grown(log), head_over(scene.book, log)
    if lines:
        old = note.parse_checkpoint(scene.head)
        new = note.parse_checkpoint(head)
        head = str(note.Checkpoint(new.origin, new.size, new.root, (*new.lines, *old.lines[1:])))
    entries = [
        {"index": index, "event": json.loads(data), "proof": [b64(step) for step in tree.inclusion_proof(index)]} for index, data in shown
    ]
    heads = [
        {**head, "proof": [b64(step) for step in tree.consistency_proof(head["size"])]}
        for head in scene.value["heads"]
        if head["size"] <= tree.size
    ]
    return {**scene.value, "checkpoint": head, "entries": entries, "heads": heads}


def _shown(scene: Scene) -> list[tuple[int, bytes]]:
    return [(item["index"], scene.log[item["index"]]) for item in scene.value["entries"]]


# --- 1. edit ---------------------------------------------------------------------------------------------------------


def edit_log(scene: Scene, chance: Random) -> list[str]:
    log, at = list(scene.log), _place(scene, chance)
    log[at] = _flipped(log[at], chance) if chance.random() < 0.5 else _resigned(log[at], chance, scene)
    return scene.judge_log(log, _head(scene, log, chance))


def edit_bundle(scene: Scene, chance: Random) -> list[str]:
    return scene.judge_bundle(_flipped(scene.data, chance))


def edit_bundle_event(scene: Scene, chance: Random) -> list[str]:
    """An event changed, the whole tree built anew around it and signed by the log."""
    log, at = list(scene.log), chance.randrange(len(scene.value["entries"]))
    index = scene.value["entries"][at]["index"]
    log[index] = _resigned(log[index], chance, scene)
    return scene.judge_bundle(_rebuilt(scene, log, [(i, log[i]) for i, _ in _shown(scene)], chance.random() < 0.5))


def edit_bundle_document(scene: Scene, chance: Random) -> list[str]:
    documents = copy.deepcopy(scene.value["documents"])
    name = chance.choice(sorted(documents))
    documents[name] = json.loads(_flip_a_letter(canonical(documents[name]), chance))
    return scene.judge_bundle({**scene.value, "documents": documents})


def _flip_a_letter(data: bytes, chance: Random) -> bytes:
    """Valid JSON again, one lower-case letter or digit inside it changed."""
    places = [i for i, byte in enumerate(data) if chr(byte) in "0123456789abcdef"]
    while True:
        at = chance.choice(places)
        other = chance.choice([letter for letter in "123456789abcdef" if letter != chr(data[at])])
        changed = data[:at] + other.encode() + data[at + 1 :]
        try:
            if json.loads(changed) != json.loads(data):
                return changed
        except ValueError:
            continue


def edit_proof(scene: Scene, chance: Random) -> list[str]:
    at = chance.randrange(len(scene.log))
    text = _flipped(scene.proofs[at].encode(), chance).decode("utf-8", "surrogateescape")
    return scene.judge_proof(text, scene.log[at])


# --- 2. drop, 3. insert ------------------------------------------------------------------------------------------------


def drop_log(scene: Scene, chance: Random) -> list[str]:
    at = chance.randrange(scene.start, len(scene.log) - 1)  # without its last entry it is the true log of a moment ago
    log = scene.log[:at] + scene.log[at + 1 :]
    return scene.judge_log(log, chance.choice([scene.head, head_over(scene.book, log)]))


def drop_bundle(scene: Scene, chance: Random) -> list[str]:
    at = chance.randrange(len(scene.value["entries"]))
    if chance.random() < 0.5:
        return scene.judge_bundle({**scene.value, "entries": scene.value["entries"][:at] + scene.value["entries"][at + 1 :]})
    index = scene.value["entries"][at]["index"]
    log = scene.log[:index] + scene.log[index + 1 :]
    return scene.judge_bundle(_rebuilt(scene, log, [(i - (i > index), data) for i, data in _shown(scene) if i != index]))


def drop_document(scene: Scene, chance: Random) -> list[str]:
    gone = chance.choice(sorted(scene.value["documents"]))
    return scene.judge_bundle({**scene.value, "documents": {k: v for k, v in scene.value["documents"].items() if k != gone}})


def drop_proof_step(scene: Scene, chance: Random) -> list[str]:
    at = chance.randrange(len(scene.log))
    lines = scene.proofs[at].split("\n")
    del lines[chance.randrange(2, lines.index(""))]
    return scene.judge_proof("\n".join(lines), scene.log[at])


def _invented(scene: Scene, chance: Random) -> bytes:
    """An event that the attacker can make: legal by anybody, by the hub, of another log, or in another's name."""
    book = scene.book
    match chance.randrange(4):
        case 0:
            return chance.choice(scene.newcomers)
        case 1:
            return chance.choice(scene.other.log)
        case 2:
            author = chance.choice([*book.hospitals, f"checker-0@{book.hospitals[0]}", f"steward@{book.hospitals[0]}"])
            body = Entry(chance.choice([data for data in book.log if Entry(data).event.author == author])).event
            return sign("event", {**ev.body_of(body), "seq": body.seq + 1}, chance.choice([STRANGER, book.keys_of(COORDINATOR)]))
        case _:
            fields: dict[str, Any] = {"member": f"newcomer-{chance.randrange(len(scene.newcomers))}"}
            return book.entry(ev.MemberAdmitted, COORDINATOR, case=CONSORTIUM, **fields).data


def insert_log(scene: Scene, chance: Random) -> list[str]:
    at = _place(scene, chance)  # behind the last entry a newcomer would be no lie
    return scene.judge_log([*scene.log[:at], _invented(scene, chance), *scene.log[at:]])


def insert_bundle(scene: Scene, chance: Random) -> list[str]:
    index, data = chance.randrange(len(scene.log) + 1), _invented(scene, chance)
    log = [*scene.log[:index], data, *scene.log[index:]]
    shown = sorted([(i + (i >= index), entry) for i, entry in _shown(scene)] + [(index, data)])
    return scene.judge_bundle(_rebuilt(scene, log, shown, chance.random() < 0.5))


def insert_proof_step(scene: Scene, chance: Random) -> list[str]:
    at = chance.randrange(len(scene.log))
    lines = scene.proofs[at].split("\n")
    lines.insert(chance.randrange(2, lines.index("") + 1), b64(chance.randbytes(32)))
    return scene.judge_proof("\n".join(lines), scene.log[at])


# --- 4. back-date ----------------------------------------------------------------------------------------------------


def _dated(data: bytes, keys: Keys | None, at: str) -> bytes:
    signed = json.loads(data)
    body = {**signed["body"], "at": at}
    return sign("event", body, keys) if keys else canonical({**signed, "body": body})


def backdate_log(scene: Scene, chance: Random) -> list[str]:
    """By the hub, or by the very author, to before what the author has said already."""
    places = [i for i in range(scene.start, len(scene.log)) if scene.events[i].seq > 0]
    at = chance.choice(places)
    event = scene.events[at]
    keys = chance.choice([None, STRANGER, scene.book.keys_of(event.author)])
    log = list(scene.log)
    log[at] = _dated(log[at], keys, f"2026-03-01T{chance.randrange(24):02}:{chance.randrange(60):02}:00Z")
    return scene.judge_log(log, _head(scene, log, chance))


def backdate_bundle(scene: Scene, chance: Random) -> list[str]:
    at = chance.choice([i for i, (index, _) in enumerate(_shown(scene)) if scene.events[index].seq > 0])
    index, data = _shown(scene)[at]
    keys = chance.choice([None, STRANGER, scene.book.keys_of(scene.events[index].author)])
    log = list(scene.log)
    log[index] = _dated(data, keys, f"2026-03-01T{chance.randrange(24):02}:00:{chance.randrange(60):02}Z")
    return scene.judge_bundle(_rebuilt(scene, log, [(i, log[i]) for i, _ in _shown(scene)]))


def backdate_cosignature(scene: Scene, chance: Random) -> list[str]:
    head = note.parse_checkpoint(scene.head)
    at = chance.randrange(1, len(head.lines))
    line = head.lines[at]
    earlier = (line.time - chance.randrange(1, 10**6)).to_bytes(8, "big")
    lines = (*head.lines[:at], note.SignatureLine(line.name, line.key_id, earlier + line.signature[8:]), *head.lines[at + 1 :])
    return scene.judge_note(str(note.Checkpoint(head.origin, head.size, head.root, lines)))


# --- 5. reorder --------------------------------------------------------------------------------------------------------


def reorder_log(scene: Scene, chance: Random) -> list[str]:
    one, two = chance.sample(range(scene.start, len(scene.log)), 2)
    log = list(scene.log)
    log[one], log[two] = log[two], log[one]
    return scene.judge_log(log, _head(scene, log, chance))


def reorder_bundle(scene: Scene, chance: Random) -> list[str]:
    one, two = sorted(chance.sample(range(len(scene.value["entries"])), 2))
    entries = list(scene.value["entries"])
    a, b = entries[one], entries[two]
    match chance.randrange(3):
        case 0:
            entries[one], entries[two] = b, a
        case 1:
            entries[one], entries[two] = {**b, "index": a["index"]}, {**a, "index": b["index"]}
        case _:
            log = list(scene.log)
            log[a["index"]], log[b["index"]] = log[b["index"]], log[a["index"]]
            return scene.judge_bundle(_rebuilt(scene, log, [(i, log[i]) for i, _ in _shown(scene)]))
    return scene.judge_bundle({**scene.value, "entries": entries})


def reorder_proof(scene: Scene, chance: Random) -> list[str]:
    at = chance.randrange(len(scene.log))
    lines = scene.proofs[at].split("\n")
    one, two = chance.sample(range(2, max(4, lines.index(""))), 2)  # where there is one step only, it goes behind the empty line
    lines[one], lines[two] = lines[two], lines[one]
    return scene.judge_proof("\n".join(lines), scene.log[at])


# --- 6. rollback, 7. fork, 8. split view ---------------------------------------------------------------------------------


def _divergent(scene: Scene, chance: Random, since: int) -> list[bytes]:
    """Another history since this place that keeps every rule: newcomers in between, and perhaps an end of its own."""
    log = list(scene.log[:since])
    rest = scene.log[since : chance.randrange(since, len(scene.log) + 1)]
    for number, data in enumerate(chance.sample(scene.newcomers, chance.randrange(1, 4))):
        rest.insert(0 if number == 0 else chance.randrange(len(rest) + 1), data)
    return [*log, *rest]


def rollback_log(scene: Scene, chance: Random) -> list[str]:
    """The hub goes back behind what the node has copied, and goes on differently."""
    log = _divergent(scene, chance, chance.randrange(5, scene.start))
    while len(log) <= scene.start:
        log.append(chance.choice([data for data in scene.newcomers if data not in log]))
    return scene.judge_log(log[: len(scene.log)])


def rollback_heads(scene: Scene, chance: Random) -> list[str]:
    """Another hospital is shown the head of a log that was rolled back and went on."""
    return scene.judge_heads(head_over(scene.book, _divergent(scene, chance, chance.randrange(1, len(scene.log) - 4))[: len(scene.log)]))


def rollback_bundle(scene: Scene, chance: Random) -> list[str]:
    """The case as it was before its last events, under the head of that time, cosigned by all."""
    cut = chance.randrange(scene.start, len(scene.log))
    shown = [(i, data) for i, data in _shown(scene) if i < cut]
    value = _rebuilt(scene, scene.log[:cut], shown)
    return scene.judge_bundle({**value, "checkpoint": scene.book.checkpoint(cut)})


def fork_log(scene: Scene, chance: Random) -> list[str]:
    """The entries of one history under the head of another of the same size, both signed by the log."""
    log = _divergent(scene, chance, chance.randrange(scene.start, len(scene.log)))
    other = [*log[: scene.start], *_divergent(scene, chance, scene.start)[scene.start :]]
    size = min(len(log), len(other))
    if log[:size] == other[:size]:
        other[size - 1] = next(data for data in scene.newcomers if data not in (*log, *other))
    return scene.judge_log(log[:size], head_over(scene.book, other[:size]))


def fork_bundle(scene: Scene, chance: Random) -> list[str]:
    """The true case with proofs into a second history, whose head the log signs too; old cosignatures beside it or none."""
    at = chance.randrange(1, len(scene.log))
    log = [*scene.log[:at], chance.choice(scene.newcomers), *scene.log[at:]]
    shown = [(i + (i >= at), data) for i, data in _shown(scene)]
    return scene.judge_bundle(_rebuilt(scene, log, shown, chance.random() < 0.5))


def split_view(scene: Scene, chance: Random) -> list[str]:
    """One hospital is told a history of its own, whole and legal; it must show when two of them compare heads."""
    log = _divergent(scene, chance, chance.randrange(scene.start, len(scene.log)))
    log = log[: len(scene.log)]
    if log == scene.log[: len(log)]:
        log[-1] = chance.choice(scene.newcomers)
    told, _ = scene.tell(log[scene.start :], head_over(scene.book, log))
    return told or scene.judge_heads(scene.listener.newest)


def split_quorum(scene: Scene, chance: Random) -> list[str]:
    """Two histories of one size, each cosigned by as many as one of them can have while f = 1 of the cosigners signs both."""
    liar, *honest = chance.sample(COSIGNERS, len(COSIGNERS))
    log = _divergent(scene, chance, chance.randrange(scene.start, len(scene.log)))
    text = head_over(scene.book, log)
    for member in [liar, honest[0]]:
        line = note.cosign(text, note.cosigner_name(ORIGIN, member), key=scene.book.cosigners[member], time=1_800_000_000)
        text = note.add_cosignature(text, line)
    return scene.judge_note(text)


# --- 9. truncated tail -------------------------------------------------------------------------------------------------


def truncate_log(scene: Scene, chance: Random) -> list[str]:
    return scene.judge_log(scene.log[: chance.randrange(scene.start, len(scene.log))], scene.head)


def truncate_entry(scene: Scene, chance: Random) -> list[str]:
    log, at = list(scene.log), _place(scene, chance)
    log[at] = log[at][: chance.randrange(len(log[at]))]
    return scene.judge_log(log[: at + 1], chance.choice([scene.head, head_over(scene.book, log[: at + 1])]))


def truncate_bundle(scene: Scene, chance: Random) -> list[str]:
    if chance.random() < 0.5:
        return scene.judge_bundle(scene.data[: chance.randrange(len(scene.data))])
    return scene.judge_bundle({**scene.value, "entries": scene.value["entries"][: chance.randrange(len(scene.value["entries"]))]})


def truncate_proof(scene: Scene, chance: Random) -> list[str]:
    at = chance.randrange(len(scene.log))
    return scene.judge_proof(scene.proofs[at][: chance.randrange(len(scene.proofs[at]))], scene.log[at])


# --- 10. swapped cosigner ------------------------------------------------------------------------------------------------


def _swapped(scene: Scene, chance: Random) -> str:
    """The head with quorum faked: lines under another's name, by another's key, the same one again, or by somebody unknown."""
    head = note.parse_checkpoint(scene.head)
    bare = head_over(scene.book, scene.log)
    first, second, third = chance.sample(COSIGNERS, 3)

    def line(name: str, member: str, key: Any = None) -> str:
        return note.cosign(
            bare, note.cosigner_name(ORIGIN, name), key=key or scene.book.cosigners[member], time=1_800_000_000 + chance.randrange(99)
        )

    match chance.randrange(4):
        case 0:
            fake = note.SignatureLine.parse(line(first, second))
            true = note.SignatureLine.parse(line(first, first))
            lines = [line(second, second), line(third, third), str(note.SignatureLine(fake.name, true.key_id, fake.signature))]
        case 1:
            lines = [line(first, first), line(second, second), line(third, third, STRANGER.signing)]
        case 2:
            lines = [line(first, first), line(second, second), line(f"{first} again", first)]
        case _:
            lines = [line(first, first), line(first, first), line(first, first)]
    return str(note.Checkpoint(head.origin, head.size, head.root, (head.lines[0], *map(note.SignatureLine.parse, lines))))


def swap_in_note(scene: Scene, chance: Random) -> list[str]:
    return scene.judge_note(_swapped(scene, chance))


def swap_in_bundle(scene: Scene, chance: Random) -> list[str]:
    return scene.judge_bundle({**scene.value, "checkpoint": _swapped(scene, chance)})


def swap_in_proof(scene: Scene, chance: Random) -> list[str]:
    at = chance.randrange(len(scene.log))
    return scene.judge_proof(proof.tlog_proof(at, scene.book.tree.inclusion_proof(at), _swapped(scene, chance)), scene.log[at])


# --- 11. stale checkpoint ------------------------------------------------------------------------------------------------


def stale_bundle(scene: Scene, chance: Random) -> list[str]:
    return scene.judge_bundle({**scene.value, "checkpoint": scene.book.checkpoint(chance.randrange(1, len(scene.log)))})


def stale_proof(scene: Scene, chance: Random) -> list[str]:
    """A good proof under the newest head, shown under an older one, or an old proof under the newest."""
    size = chance.randrange(2, len(scene.log))
    at = chance.randrange(len(scene.log))
    if at >= size or scene.book.tree.inclusion_proof(at, size) == scene.book.tree.inclusion_proof(at):
        return scene.judge_proof(proof.tlog_proof(at, scene.book.tree.inclusion_proof(at), scene.book.checkpoint(size)), scene.log[at])
    return scene.judge_proof(proof.tlog_proof(at, scene.book.tree.inclusion_proof(at, size), scene.head), scene.log[at])


def stale_cosignatures(scene: Scene, chance: Random) -> list[str]:
    """Cosignatures of an older head below the newest."""
    old = note.parse_checkpoint(scene.book.checkpoint(chance.randrange(1, len(scene.log))))
    new = note.parse_checkpoint(scene.head)
    return scene.judge_note(str(note.Checkpoint(new.origin, new.size, new.root, (new.lines[0], *old.lines[1:]))))


def stale_audit(scene: Scene, chance: Random) -> list[str]:
    """A hub whose entries were rewritten behind an old, true, fully cosigned head."""
    size = chance.randrange(scene.start, len(scene.log))
    log = list(scene.log)
    one, two = chance.sample(range(size), 2)
    log[one], log[two] = log[two], log[one]
    return scene.judge_audit(log, scene.book.checkpoint(size))


# --- 12. replay ----------------------------------------------------------------------------------------------------------


def replay_event(scene: Scene, chance: Random) -> list[str]:
    """An event that stands in the log already, once more."""
    at = chance.randrange(scene.start, len(scene.log))
    return scene.judge_log([*scene.log[: at + 1], scene.log[chance.randrange(at + 1)], *scene.log[at + 1 :]])


def replay_in_bundle(scene: Scene, chance: Random) -> list[str]:
    entries = scene.value["entries"]
    at, again = chance.randrange(len(entries) + 1), chance.choice(entries)
    return scene.judge_bundle({**scene.value, "entries": [*entries[:at], again, *entries[at:]]})


def replay_elsewhere(scene: Scene, chance: Random) -> list[str]:
    """An event or document of another consortium's case in the place of the one that belongs here."""
    at = chance.randrange(len(scene.value["entries"]))
    theirs = scene.other_value["entries"][at]["event"]
    return scene.judge_bundle(_with(scene.value, at, {**scene.value["entries"][at], "event": theirs}))


def replay_receipt(scene: Scene, chance: Random) -> list[str]:
    """The proof of one entry for another, or at another index."""
    one, two = chance.sample(range(len(scene.log)), 2)
    if chance.random() < 0.5:
        return scene.judge_proof(scene.proofs[one], scene.log[two])
    return scene.judge_proof(scene.proofs[one].replace(f"\nindex {one}\n", f"\nindex {two}\n"), scene.log[one])


CLASSES: dict[str, list[Mutation]] = {
    "edit": [edit_log, edit_bundle, edit_bundle_event, edit_bundle_document, edit_proof],
    "drop": [drop_log, drop_bundle, drop_document, drop_proof_step],
    "insert": [insert_log, insert_bundle, insert_proof_step],
    "back-date": [backdate_log, backdate_bundle, backdate_cosignature],
    "reorder": [reorder_log, reorder_bundle, reorder_proof],
    "rollback": [rollback_log, rollback_heads, rollback_bundle],
    "fork": [fork_log, fork_bundle],
    "split view": [split_view, split_quorum],
    "truncated tail": [truncate_log, truncate_entry, truncate_bundle, truncate_proof],
    "swapped cosigner": [swap_in_note, swap_in_bundle, swap_in_proof],
    "stale checkpoint": [stale_bundle, stale_proof, stale_cosignatures, stale_audit],
    "replayed receipt or event": [replay_event, replay_in_bundle, replay_elsewhere, replay_receipt],
}


@dataclass
class Tally:
    """What became of the attempts of one class."""

    tried: int = 0
    detected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    believed: list[str] = field(default_factory=list)  # which mutation, with which seed


def attempts(scene: Scene, name: str, *, count: int, seed: int) -> Tally:
    """So many lies of one class, its mutations in turn; each is made again by its seed."""
    tally = Tally()
    for number in range(seed, seed + count):
        mutation = CLASSES[name][number % len(CLASSES[name])]
        reasons = mutation(scene, Random(f"{name} {number}"))
        tally.tried += 1
        tally.detected += bool(reasons)
        if reasons:
            tally.reasons[reasons[-1]] += 1
        else:
            tally.believed.append(f"{mutation.__name__} {number}")
    return tally
