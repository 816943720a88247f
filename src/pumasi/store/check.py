"""The own copy of the log asked entry by entry, as no start can afford on a long log: `pumasi hub check` and `pumasi node check`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pumasi.kernel.envelope import Keys, sha256
from pumasi.kernel.errors import Refused, Tampered
from pumasi.ledger import note
from pumasi.store.db import open_db
from pumasi.store.site import Site
from pumasi.store.snapshot import Snapshots


def check(database: Path, *, id: str, keys: Keys, snapshot: Path) -> Iterator[str]:
    """What holds, line by line; `Tampered` with what does not. It may run beside the party that serves; closed cases are written anew."""
    try:
        site = Site(open_db(database), id=id, keys=keys)  # without a snapshot: from the first entry on
    except Refused as refused:
        raise Tampered("the log on this disk holds an event that the rules refuse", *refused.reasons) from refused
    yield f"{site.tree.size} entries: every signature holds and every event was allowed by the rules"
    with site.database.reading() as db:
        for index, digest, data in db.execute('SELECT "index", digest, data FROM entries ORDER BY "index"'):
            if sha256(data) != digest:
                raise Tampered(f"entry {index} on this disk does not have the digest that it is found by")
    text = site.checkpoint()
    if text is not None and site.world.logs:
        head = note.parse_checkpoint(text)
        note.check(head, log=note.head_vkey(site.world, head.size), cosigners=[])
        yield f"the newest checkpoint here, over {head.size} entries, is signed by the log and fits; root {head.root.hex()}"
    found = Snapshots(snapshot, keys).load()
    if found is not None:
        world, tree = found
        if tree.size > site.tree.size or tree.root() != site.tree.root(tree.size) or (tree.size == site.tree.size and world != site.world):
            raise Tampered(f"the snapshot is not what the log comes to; stop the process, remove {snapshot}, start it again")
        yield f"the snapshot over {tree.size} entries fits"
