"""The bundle of a case, as the hub hands it to whoever takes part."""

from __future__ import annotations

from pumasi.hub.log import Sequencer
from pumasi.kernel.event import CONSORTIUM
from pumasi.ledger import bundle, note


def checkpoint(log: Sequencer, case: str, *, covering: int) -> str | None:
    """The newest final checkpoint; of a closed case the first that covers it, whose keys are those that the case itself shows."""
    if not log.site.world.is_closed(case):
        return log.final(covering)
    closing, _ = log.site.entries_of(case)[-1]
    return log.first_final(max(covering, closing + 1))


def bundle_of(log: Sequencer, case: str, checkpoint: str) -> bytes:
    """The bundle under this checkpoint, with every document that it opens, but for those that were erased here."""
    size = note.parse_checkpoint(checkpoint).size
    entries, documents = bundle.select(case, log.site.entries_of(CONSORTIUM, case, before=size))
    erased = {commitment for commitment in documents if log.site.document_state(commitment) == "erased"}
    opened = {commitment: log.site.document(commitment) for commitment in documents if commitment not in erased}
    return bundle.build(
        case,
        entries=entries,
        checkpoint=checkpoint,
        tree=log.site.tree,
        documents={commitment: {"salt": document.salt, "body": document.body} for commitment, document in opened.items()},
        erased=erased,
        witnesses=log.outside().values(),
    )
