"""The shared log, checked by anybody: copied whole, every rule replayed, compared with what the hospitals cosigned."""

from __future__ import annotations

from collections.abc import Iterator

from pumasi.client.home import Home
from pumasi.kernel import rules
from pumasi.kernel.envelope import unb64
from pumasi.kernel.errors import Invalid, Tampered
from pumasi.kernel.event import Entry
from pumasi.kernel.world import World
from pumasi.ledger import note, proof
from pumasi.ledger.handover import check_root
from pumasi.ledger.tree import Tree, leaf_hash


def copy(home: Home) -> list[bytes]:
    """Every entry of the log, in order."""
    found: list[bytes] = []
    while True:
        page = home.channel.get(f"/log?start={len(found)}").json()["entries"]
        if not page:
            return found
        found += [unb64(entry) for entry in page]


def show(home: Home, *, case: str | None) -> Iterator[str]:
    for index, data in enumerate(copy(home)):
        event = Entry(data).event
        if case is None or event.case == case:
            yield f"{index:>7}  {event.at}  {event.case[:10]:<10}  {event.author:<30} {event.type}"


def _final(home: Home) -> str:
    return home.channel.get("/checkpoint?wait=10", wait=10).text


def prove(home: Home, index: int) -> str:
    """The proof under the newest final checkpoint, with no more cosignatures than the hub's policy asks for.

    `Invalid` when it covers no such entry.
    """
    text, tree = _final(home), Tree()
    policy = note.Policy.parse(home.channel.get("/policy").content)
    text = text if policy.satisfied(text) else policy.shortest(text)  # another policy, since a cosigner changed its key: all that is there
    size = note.parse_checkpoint(text).size
    if not 0 <= index < size:
        raise Invalid(f"the final checkpoint covers the entries 0 to {size - 1}")
    for data in copy(home)[:size]:
        tree.append(leaf_hash(data))
    return proof.tlog_proof(index, tree.inclusion_proof(index, size), text)


def check(home: Home) -> Iterator[str]:
    """What holds, line by line; `Tampered` with what does not."""
    text, entries = _final(home), copy(home)
    checkpoint, world, tree = note.parse_checkpoint(text), World(), Tree()
    for data in entries:
        entry = Entry(data)
        check_root(entry.event, tree)
        rules.apply(world, entry)
        tree.append(leaf_hash(data))
    yield f"{len(entries)} entries: every signature holds and every event was allowed by the rules"
    if not world.logs or checkpoint.root != tree.root(checkpoint.size):
        raise Tampered("the final checkpoint is not over the entries that the hub serves")
    origin = world.log_at(checkpoint.size).origin
    cosigners = [note.cosigner_vkey(origin, *known) for known in world.cosigners_at(checkpoint.size)]
    witnessed = note.check(checkpoint, log=note.head_vkey(world, checkpoint.size), cosigners=cosigners)
    yield f"checkpoint over {checkpoint.size} entries, root {checkpoint.root.hex()}"
    count = len(witnessed.cosigners)
    yield f"cosigned by {count} of {len(cosigners)} hospitals" if count else "NOT WITNESSED: no hospital has cosigned it"
