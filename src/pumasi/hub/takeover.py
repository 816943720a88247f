"""Going on with a log whose hub is gone, or is not to be trusted any more: a copy of it, the hospitals' signatures, and a new hub.

1. `pumasi hub init`: the successor's own folder, keys, name and address   2. `propose`: take over a copy, every rule replayed, and
write the proposal   3. each hospital signs   4. `take_over`: with a quorum of signatures the event that moves the log is its next entry.
What only the old hub held stays lost: its halves of workspace keys, its mailbox, documents that their authors do not send again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pumasi.hub.rotation import log_recorded
from pumasi.hub.settings import load
from pumasi.kernel import event as ev
from pumasi.kernel import handover as kernel_handover
from pumasi.kernel.envelope import Keys, b64, possesses, sha256
from pumasi.kernel.errors import Invalid, Tampered, refuse_if
from pumasi.kernel.event import CONSORTIUM
from pumasi.ledger import note
from pumasi.ledger.handover import TAIL, Handover, Signature, Statement, der
from pumasi.store.custody import sync_folder
from pumasi.store.db import open_db
from pumasi.store.resume import adopt
from pumasi.store.rotation import public_of, signing_key
from pumasi.store.site import Site
from pumasi.store.tiles import copied, verify_copy

FILE = "handover.json"


def _open(home: Path) -> tuple[Site, Ed25519PrivateKey]:
    keys = Keys.from_text((home / "keys" / "coordinator.key").read_text())
    site, log_key = Site(open_db(home / "hub.db"), id=load(home).name, keys=keys), signing_key(home / "keys" / "log.key")
    return site, log_key


def _is_own(site: Site, log_key: Ed25519PrivateKey) -> bool:
    return bool(site.world.logs) and site.world.logs[-1].key == public_of(log_key)


def propose(home: Path, mirror: Path) -> Handover:
    """Take over a copy of the log (tlog-tiles, up to its checkpoint), and write down what the hospitals are asked to sign."""
    settings, (site, log_key) = load(home), _open(home)
    if _is_own(site, log_key):
        raise Invalid(f"{home} has a log of its own already; a takeover needs a new folder, made with `pumasi hub init`")
    head = verify_copy(mirror)
    for entries in copied(mirror, head.size):
        refused = [reason for reasons in site.extend(entries, in_order=True) for reason in reasons]
        if refused:
            raise Tampered(f"{mirror} holds an entry that the rules refuse", *refused)
    if site.tree.size != head.size or site.tree.root() != head.root:
        raise Invalid(f"{home} holds another copy of the log than {mirror}; start anew with `pumasi hub init` in a new folder")
    checkpoint = str(head)
    note.check(head, log=note.head_vkey(site.world, head.size), cosigners=[])
    site.save_checkpoint(head.size, checkpoint)
    pem = (home / "hub.crt").read_text()
    statement = Statement.read(
        {
            "author": settings.name, "size": head.size, "root": head.root.hex(), "replaces": site.world.logs[-1].key,
            "origin": settings.origin, "log_key": public_of(log_key), "key": site.keys.public, "box": site.keys.box_public,
            "place": settings.url, "certificate": sha256(der(pem)),
        }
    )  # fmt: skip
    refuse_if(*kernel_handover.successor_refusals(site.world, statement))
    start = max(0, head.size - TAIL)
    entries_text = [b64(data) for data in site.entries(start, head.size)]
    proposal = Handover(statement=statement, checkpoint=checkpoint, certificate=pem, start=start, entries=entries_text)
    _write(home, proposal)
    return proposal


def cosigners(home: Path) -> list[str]:
    """Who may sign the proposal in a folder."""
    site, _ = _open(home)
    return [name for name, _ in site.world.cosigners_at(site.world.entries)]


def take_over(home: Path, signatures: Sequence[Signature]) -> Handover:
    """Make the log this hub's own; `Refused` with every reason while the signatures are not enough. May be called again."""
    settings, (site, log_key) = load(home), _open(home)
    if not (home / FILE).is_file():
        raise Invalid(f"{home} holds no proposal; make one with `pumasi hub propose --home {home} --mirror FOLDER`")
    proposal = Handover.parse((home / FILE).read_bytes())
    log_recorded(site)  # what a crash had left
    if not _is_own(site, log_key):
        _hand_over(site, proposal, signatures, settings.policy_text(home))
    index = proposal.statement.size
    complete = proposal.model_copy(update={"event": b64(site.entries(index, index + 1)[0]), "checkpoint": site.checkpoint(index)})
    _write(home, complete)
    return complete


def _hand_over(site: Site, proposal: Handover, signatures: Sequence[Signature], policy: str | None) -> None:
    said, cosigners = proposal.statement, dict(site.world.cosigners_at(proposal.statement.size))
    given = {signature.member: signature for signature in signatures}
    reasons = [reason for signature in given.values() for reason in _faults(proposal, signature, cosigners)]
    items = [{"member": name, "key": given[name].key, "signature": given[name].signature} for name in sorted(given)]
    fields = {**said.plain(), "signatures": items}
    if policy is not None:
        reasons += _policy_faults(note.Policy.parse(policy), site, given)
    refuse_if(*reasons)
    adopt(site)
    seq, prev = site.world.chain(CONSORTIUM, site.id)
    common = {"type": "LogHandedOver", "case": CONSORTIUM, "seq": seq, "prev": prev, "at": site.instant()}
    refuse_if(*kernel_handover.handed_over(site.world, ev.LogHandedOver.read(common | fields)))
    site.save_checkpoint(said.size, _cosigned(proposal, given))
    site.record(ev.LogHandedOver, case=CONSORTIUM, **{name: value for name, value in fields.items() if name != "author"})
    log_recorded(site)


def _faults(proposal: Handover, signature: Signature, cosigners: dict[str, str]) -> list[str]:
    said, name = proposal.statement, signature.member
    if signature.handover != said.digest:
        return [f"'{name}' has signed another proposal than the one in this folder"]
    if cosigners.get(name) != signature.key:
        return [f"'{name}' does not cosign this log with the key in its signature"]
    head = note.parse_checkpoint(proposal.checkpoint)
    line, vkey = note.SignatureLine.parse(signature.cosignature), note.cosigner_vkey(head.origin, name, signature.key)
    holds = (
        possesses(signature.key, said.plain(), signature.signature, kind="handover") and line.is_by(vkey) and line.holds(vkey, head.body)
    )
    return [] if holds else [f"the signature of '{name}' does not hold"]


def _policy_faults(policy: note.Policy, site: Site, given: dict[str, Signature]) -> list[str]:
    """Whether those who signed are the quorum of this hub's own policy; whoever is no member signs no handover, and is not waited for."""
    members = {key for _, key in site.world.cosigners_at(site.world.entries)}
    keys = {signature.key for signature in given.values()}
    signed = {name for name, vkey in policy.witnesses.items() if b64(vkey.public) in keys or b64(vkey.public) not in members}
    return [] if policy.reached(signed) else ["the signatures do not reach the quorum of the policy that hub.toml names"]


def _cosigned(proposal: Handover, given: dict[str, Signature]) -> str:
    """The old log's last head with every signer's cosignature, so that cases which closed before are final under the old key."""
    text = proposal.checkpoint
    for signature in given.values():
        line = note.SignatureLine.parse(signature.cosignature)
        if all((known.name, known.key_id) != (line.name, line.key_id) for known in note.parse_checkpoint(text).lines):
            text = note.add_cosignature(text, signature.cosignature)
    return text


def refusal(home: Path, site: Site, log_key: Ed25519PrivateKey) -> str | None:
    """Why a hub may not serve the log in its folder: its key is not the log's. A restored hub may lack the entry that made it so."""
    if not site.world.logs or site.world.logs[-1].key == public_of(log_key) or site.mark() is not None:
        return None
    return (
        f"the log in {home} signs with another key than keys/log.key: put the log's key there, or, if this hub is to take it over,"
        " gather the hospitals' signatures and run `pumasi hub takeover`"
    )


def shown(home: Path) -> bytes | None:
    """The complete handover that this hub came to its log by; None for the first hub, or before it is complete."""
    path = home / FILE
    data = path.read_bytes() if path.is_file() else None
    return data if data is not None and Handover.parse(data).event is not None else None


def _write(home: Path, handover: Handover) -> None:
    new = home / f"{FILE}.new"
    new.write_bytes(handover.data)
    new.replace(home / FILE)
    sync_folder(home)


__all__ = ["FILE", "cosigners", "propose", "refusal", "shown", "take_over"]
