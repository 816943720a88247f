"""The bundle of a case, as the hub hands it to whoever takes part."""

from __future__ import annotations

from pumasi.hub.log import Sequencer
from pumasi.ledger import bundle, note


def checkpoint(log: Sequencer, case: str, *, covering: int) -> str | None:
    """The newest final checkpoint; of a closed case the first that covers it, whose keys are those that the case itself shows."""
    if not log.site.world.is_closed(case):
        return log.final(covering)
    entries, _ = bundle.select(case, log.site.entries(0))
    return log.first_final(max(covering, entries[-1][0] + 1))


def bundle_of(log: Sequencer, case: str, checkpoint: str) -> bytes:
    """The bundle under this checkpoint, with every document that it opens."""
    entries, documents = bundle.select(case, log.site.entries(0, note.parse_checkpoint(checkpoint).size))
    opened = {commitment: log.site.document(commitment) for commitment in documents}
    return bundle.build(
        case,
        entries=entries,
        checkpoint=checkpoint,
        tree=log.site.tree,
        documents={commitment: {"salt": document.salt, "body": document.body} for commitment, document in opened.items()},
    )
