"""The ledger: durable entries per second beside bare SQLite, proofs, restart, and how every cost grows.

Entries are real signed events of whole cases (511 bytes on average), checked by the kernel's rules at the hub and at every validating
cosigner. The peer of a rate is one table of a bare SQLite database with the same bytes in the same batches on the same disk (WAL,
synchronous=FULL): more is better. The peer of a time or size is named in its case; there less is better.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pumasi.kernel.envelope import Keys, sha256
from pumasi.kernel.event import Entry
from pumasi.kernel.handover import two_thirds
from pumasi.ledger import bundle, note, proof, verify
from pumasi.ledger.tree import Tree, leaf_hash
from pumasi.store.site import Site
from tests.casebook import COORDINATOR, ORIGIN, play
from tests.torture.histories import COSIGNERS, Stream, prepared
from tests.torture.parties import Line, Party, database, open_sequencer, open_site, prepare, serve_hub, serve_node

BATCHES = {1: 200, 32: 1600, 256: 4096}  # batch -> entries
VALIDATED = 6144
SIZES = (1_000, 10_000, 100_000)
MILLION = 1_000_000
LATIN = [f"hospital-{number}" for number in range(1, 8)]
KOREAN = [f"가상병원-{number}" for number in range(1, 8)]

Row = dict[str, Any]


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="pumasi-bench-") as name:
        folder = Path(name)
        stream = prepared()
        base = list(stream.log)
        stream.grow(SIZES[-1] + len(base))
        book = prepared()
        prepare(folder / "template", book, COORDINATOR)
        found = [_cosigned(folder, book, stream.log, batch) for batch in BATCHES]
        found += _validated(folder, book, stream.log)
        found += [_signatures(stream.log[:2000]), *_proofs(LATIN), *_proofs(KOREAN), _bundle_verified()]
        found += _growth(folder, stream)
        return found


def _row(case: str, unit: str, ours: float, peer: float) -> Row:
    return {"case": case, "ours": ours, "peer": peer, "unit": unit, "ratio": ours / peer}


def _seconds(work: Callable[[], object], *, times: int = 1, best_of: int = 1) -> float:
    """Seconds for one call: the fastest of a few series."""
    found = []
    for _ in range(best_of):
        start = time.perf_counter()
        for _ in range(times):
            work()
        found.append((time.perf_counter() - start) / times)
    return min(found)


def _batches(log: Sequence[bytes], batch: int) -> list[Sequence[bytes]]:
    return [log[at : at + batch] for at in range(0, len(log), batch)]


# --- entries per second ----------------------------------------------------------------------------------------------


def _bare_sqlite(folder: Path, work: list[Sequence[bytes]]) -> float:
    """Seconds to insert the same batches into one table, each batch synced to the disk."""
    path = folder / f"bare-{len(work)}.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE entries (id INTEGER PRIMARY KEY, data BLOB)")

        def insert() -> None:
            for batch in work:
                db.execute("BEGIN IMMEDIATE")
                db.executemany("INSERT INTO entries (data) VALUES (?)", [(data,) for data in batch])
                db.execute("COMMIT")

        return _seconds(insert)


def _cosigned(folder: Path, book: Stream, log: Sequence[bytes], batch: int) -> Row:
    """Through the hub's sequencer, rules and all; a batch counts once three of four cosigners are under its head, on the disk."""
    home = folder / f"hub-{batch}"
    shutil.copytree(folder / "template", home)
    hub = open_sequencer(home, book)
    work = _batches(log[len(book.log) : len(book.log) + BATCHES[batch]], batch)

    def sequence() -> None:
        for items in work:
            hub.submit(list(items))
            hub.publish()
            text = hub.newest() or ""
            for member in COSIGNERS[:3]:
                line = note.cosign(text, note.cosigner_name(ORIGIN, member), key=book.cosigners[member], time=int(time.time()))
                hub.add_cosignature(hub.published, line)
            assert hub.final(hub.site.tree.size) is not None

    ours = _seconds(sequence)
    assert hub.site.tree.size == len(book.log) + BATCHES[batch]
    return _row(
        f"durable and cosigned by 3 of 4, batch {batch} / bare insert", "entries/s", BATCHES[batch] / ours,
        BATCHES[batch] / _bare_sqlite(folder, work),
    )  # fmt: skip


def _validated(folder: Path, book: Stream, log: Sequence[bytes]) -> list[Row]:
    """A hub and four nodes, each a process with a database of its own: every node replays the rules from bytes before it cosigns."""
    hub_home = folder / "validated" / "hub"
    hub_home.parent.mkdir()
    shutil.copytree(folder / "template", hub_home)
    parties = [Party("hub", serve_hub, (hub_home, book.seed))]
    for member in COSIGNERS:
        prepare(folder / "validated" / member, book, member)
        parties.append(Party(member, serve_node, (folder / "validated" / member, book.seed, member, hub_home, 0.0, True)))
    for party in parties:
        party.start()
    line, start = Line(hub_home), len(book.log)
    work = _batches(log[start : start + VALIDATED], 256)
    while line.insist("final", start) is None:
        time.sleep(0.05)
    burnt = sum(map(_processor, parties))

    def sequence() -> None:
        for batch in work:
            line.ask("submit", list(batch))
        while line.ask("final", start + VALIDATED) is None:
            time.sleep(0.01)

    seconds = _seconds(sequence)
    burnt = sum(map(_processor, parties)) - burnt
    line.close()
    for party in parties:
        party.kill()
    alone = _bare_verification(log[start : start + 500])
    validated, bare = VALIDATED / seconds, VALIDATED / _bare_sqlite(folder, work)
    return [
        _row("the same with 4 validating cosigners, batch 256 / bare insert", "entries/s", validated, bare),
        _row("processor time of an entry, hub and 4 cosigners / 5 bare Ed25519", "us", burnt / VALIDATED * 1e6, 5 * alone * 1e6),
    ]


def _processor(party: Party) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{party.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100  # in clock ticks, 100 a second on Linux


# --- signatures and proofs -------------------------------------------------------------------------------------------


def _bare_verification(log: Sequence[bytes]) -> float:
    """Seconds for one Ed25519 verification over as many bytes as an event has."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    signed = [(key.sign(data), data) for data in log]

    def check() -> None:
        for signature, data in signed:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, data)

    return _seconds(check, best_of=3) / len(log)


def _signatures(log: Sequence[bytes]) -> Row:
    ours = _seconds(lambda: [Entry(data) for data in log], best_of=3) / len(log)
    return _row("read and verify signed entries / bare Ed25519", "entries/s", 1 / ours, 1 / _bare_verification(log))


def _proofs(names: list[str]) -> list[Row]:
    """One entry's proof that travels alone (C2SP tlog-proof), at a million entries: under all seven cosignatures, and under the five
    that a policy of more than two thirds asks for, as `pumasi ledger prove` writes it."""
    tree = Tree()
    for number in range(MILLION):
        tree.append(hashlib.sha256(number.to_bytes(8, "big")).digest())
    leaf = tree.leaf(index := MILLION // 3)
    log_key = Keys.new()
    text = note.sign_checkpoint(ORIGIN, size=MILLION, root=tree.root(), key=log_key.signing)
    vkeys = []
    for name in names:
        keys = Keys.new()
        vkeys.append(note.cosigner_vkey(ORIGIN, name, keys.public))
        text = note.add_cosignature(text, note.cosign(text, note.cosigner_name(ORIGIN, name), key=keys.signing, time=1_800_000_000))
    policy = note.Policy.parse(note.policy_text(note.log_vkey(ORIGIN, log_key.public), vkeys, quorum=two_thirds(len(vkeys))))
    path = tree.inclusion_proof(index)
    found = []
    for kept, head in ((7, text), (5, policy.shortest(text))):
        written = proof.tlog_proof(index, path, head)
        ours = _seconds(lambda: proof.verify_tlog_proof(written, leaf_hash=leaf, policy=policy), times=200, best_of=5)  # noqa: B023
        bare = (1 + kept) * _bare_verification([text.encode()[:200]] * 200)
        case = f"proof at 1M entries, 7 cosigners like '{names[0]}', {kept} cosignatures in it"
        size, raw = len(written.encode()), len(path) * 32 + (1 + kept) * 64
        found.append(_row(f"{case} / its raw hashes and signatures", "bytes", size, raw))
        found.append(_row(f"verify that proof / {1 + kept} bare Ed25519", "ms", ours * 1e3, bare * 1e3))
    return found


def _bundle_verified() -> Row:
    book = play()
    data = book.bundle()
    verified = verify.verify(data)
    signatures = len(verified.entries) + len(verified.cosigners) + 1 + sum("sig" in item["body"] for item in book.documents.values())
    ours = _seconds(lambda: verify.verify(data), times=5, best_of=3)
    bare = _bare_verification([bytes(511)] * 200)
    return _row(
        f"verify.py on a bundle of {len(verified.entries)} entries / its {signatures} bare Ed25519",
        "ms",
        ours * 1e3,
        signatures * bare * 1e3,
    )


# --- growth ----------------------------------------------------------------------------------------------------------


def _growth(folder: Path, stream: Stream) -> list[Row]:
    """Every cost at 1k, 10k and 100k entries; the peer is the same cost at 1k, but for a restart it is reading the rows alone."""
    measured = {size: _costs(folder, stream, size) for size in SIZES}
    found = []
    for case, unit in (("append one entry, durable", "ms"), ("inclusion proof", "us"), ("consistency proof", "us"), ("bundle", "bytes")):
        first = measured[SIZES[0]][case]
        found += [_row(f"{case} at {size:,} entries / at 1,000", unit, measured[size][case], first) for size in SIZES]
    for restart in ("restart of a hub", "restart that replays the whole log"):
        found += [
            _row(f"{restart} at {size:,} entries / reading them", "s", measured[size][restart], measured[size]["read"]) for size in SIZES
        ]
    return found


def _costs(folder: Path, stream: Stream, size: int) -> dict[str, float]:
    log, home = stream.log[:size], folder / f"grown-{size}"
    home.mkdir()
    open_site(home, stream, COORDINATOR).database.dispose()
    with closing(sqlite3.connect(database(home))) as db, db:
        rows_ = ((index, sha256(data), data) for index, data in enumerate(log))
        db.executemany('INSERT INTO entries ("index", digest, data) VALUES (?, ?, ?)', rows_)
    read = _seconds(lambda: _read(home))
    opened: list[Site] = []

    def start() -> None:
        opened.append(open_sequencer(home, stream).site)

    replayed = _seconds(start)
    assert opened[0].save_snapshot()
    restarted = _seconds(start)
    site = opened[1]
    assert site.tree.size == size
    following = stream.log[size : size + 40]
    append = _seconds(lambda: [site.extend([data]) for data in following]) / len(following)
    tree = site.tree
    assert tree.size == size + len(following) and [stream.log[i] for i in (0, size)] == [site.entries(i, i + 1)[0] for i in (0, size)]
    for other in opened:
        other.database.dispose()
    places = [size * k // 97 for k in range(1, 97)]
    return {
        "append one entry, durable": append * 1e3,
        "inclusion proof": _seconds(lambda: [tree.inclusion_proof(i, size) for i in places], best_of=5) / len(places) * 1e6,
        "consistency proof": _seconds(lambda: [tree.consistency_proof(i, size) for i in places], best_of=5) / len(places) * 1e6,
        "bundle": len(_bundle(stream, size)),
        "restart of a hub": restarted,
        "restart that replays the whole log": replayed,
        "read": read,
    }


def _read(home: Path) -> None:
    with closing(sqlite3.connect(database(home))) as db:
        for _, data in db.execute('SELECT "index", data FROM entries ORDER BY "index"'):
            hashlib.sha256(data).digest()


def _bundle(stream: Stream, size: int) -> bytes:
    """The first case's bundle, under a head over so many entries that four hospitals have cosigned."""
    tree = Tree()
    for data in stream.log[:size]:
        tree.append(leaf_hash(data))
    text = note.sign_checkpoint(ORIGIN, size=size, root=tree.root(), key=stream.log_key)
    for member in COSIGNERS:
        line = note.cosign(text, note.cosigner_name(ORIGIN, member), key=stream.cosigners[member], time=1_800_000_000)
        text = note.add_cosignature(text, line)
    case = next(iter(stream.world.cases))
    entries, _ = bundle.select(case, enumerate(stream.log[:size]))
    return bundle.build(case, entries=entries, checkpoint=text, tree=tree, documents=stream.documents)
