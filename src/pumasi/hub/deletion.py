"""The coordinating body's part in a deletion: when its key share goes, the certificate it signs, and its consent to a reversal.

While a deletion can still be reversed the share is kept and given to nobody. A hospital that stays silent does not keep it alive:
some days after its time this body destroys its half first, which makes the data unreadable too.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pumasi.hub.keyshares import KeyShares
from pumasi.hub.log import Sequencer
from pumasi.hub.settings import HubSettings
from pumasi.kernel import event as ev
from pumasi.kernel.certificate import ShareCertificate
from pumasi.kernel.deletion import UNUSABLE, moment, reversible
from pumasi.kernel.envelope import parse_canonical, sign
from pumasi.kernel.errors import Refused
from pumasi.kernel.world import Case, PermitCase
from pumasi.store.document import Document


def share_is_due(case: Case, permit: PermitCase, *, now: datetime, silence: timedelta) -> bool:
    """Whether this body's half of a workspace key is to be destroyed now."""
    if permit.share_destroyed:
        return False
    if permit.state not in UNUSABLE:
        return permit.state == "destroyed"
    since = permit.until or permit.ended_at
    return not reversible(case, permit, now) or (since is not None and now > moment(since) + silence)


def certify(log: Sequencer, shares: KeyShares, settings: HubSettings, *, case: str, hospital: str) -> None:
    """Destroy this half, then record it with the signed certificate; may be called again after a crash."""
    gone = shares.destroy(case, hospital)
    if gone.failures < gone.attempts:
        raise Refused(f"the key share for {hospital} in case {case[:8]}… can still be used after its destruction; look at its custodian")
    permit = log.site.world.cases[case].permits[hospital].event
    assert permit is not None  # only an issued permit ends
    certificate = ShareCertificate(
        case=case, hospital=hospital, permit=permit.permit, method=gone.method, attempts=gone.attempts, failures=gone.failures,
        backups=settings.backups, at=log.site.instant(),
    )  # fmt: skip
    document = Document.new(parse_canonical(sign("share-certificate", certificate.plain(), log.site.keys)))
    log.record(ev.ShareCertified, case=case, opened=(document,), hospital=hospital, certificate=document.commitment)


def agree(log: Sequencer, *, case: str, hospital: str) -> None:
    """This body's consent to a reversal that the hospital's steward has asked for; `Refused` with the reasons when it cannot be."""
    log.record(ev.ReversalAgreed, case=case, hospital=hospital)
