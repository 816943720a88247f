"""The workspaces of a node over their life: opened under a permit, read by jobs, closed when it is over, destroyed with a certificate.

A workspace's key needs both custodians. The coordinator's half is fetched when it is needed and stays in memory: a node that was
restarted without the hub cannot open its workspaces, and says so.
"""

from __future__ import annotations

import secrets

from pumasi.analysis.frame import Frame
from pumasi.analysis.refusal import Refusal
from pumasi.kernel.certificate import LIMITS, UNPROVABLE, CertificateV2, Manifest
from pumasi.kernel.envelope import parse_canonical, sign
from pumasi.kernel.errors import Invalid, Refused, refuse_if
from pumasi.kernel.permit import Permit
from pumasi.kernel.seal import unseal_from
from pumasi.kernel.study import Agreed, AgreedTable
from pumasi.kernel.world import Case, PermitCase
from pumasi.node import permits, remembered
from pumasi.node.app import Node
from pumasi.node.workspace import vault
from pumasi.node.workspace.extract import extract
from pumasi.store.custody import workspace_key
from pumasi.store.document import Document
from pumasi.store.site import CAME_BACK

OWN_HALF = b"pumasi/workspace-share/v1"
PSEUDONYMS = b"pumasi/pseudonym/v1"
LOST = (
    "this node was restored from a backup, which holds neither workspaces nor their keys: there was nothing here to destroy; "
    "what the machine that was backed up still holds is not covered"
)

NO_COMPARISON = Refusal(
    "remembered-source",
    "a hospital's table no longer holds what an earlier project of the same organisation asked about, so the two cannot be compared; "
    "ask the hospital",
)


class Keeper:
    """All workspaces of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._shares: dict[str, bytes] = {}  # the coordinator's halves, in memory only
        self._permits: dict[str, Permit] = {}
        self._unusable: set[str] = set()  # cases whose deletion is pending

    def permit(self, case: str, here: PermitCase) -> Permit:
        """This hospital's own permit for a case, its signature checked."""
        if here.event is None:
            raise Refused(f"{here.hospital} has signed no permit for case {case[:8]}…")
        if case not in self._permits:
            document = self._node.site.document(here.event.permit)
            self._permits[case] = permits.opened(document, key=here.key)
        return self._permits[case]

    def _key(self, case: str, commitment: str) -> bytes:
        """The key of a workspace: HKDF over both halves (see store.custody)."""
        refuse_if("the permit is over and the deletion of its workspace is pending" if case in self._unusable else None)
        if case not in self._shares:
            sealed = self._node.courier.key_share(case)
            context = f"{case}|{self._node.settings.name}".encode()
            self._shares[case] = unseal_from(self._node.site.keys.box, sealed, context=context)
        return workspace_key(self._node.custody.custodian(case).evaluate(OWN_HALF), self._shares[case], commitment)

    def open(self, case: str, here: PermitCase) -> Document:
        """Extract what the permit names into an encrypted workspace; the manifest. Begun again from the start after a crash."""
        permit = self.permit(case, here)
        assert here.event is not None  # a permit was opened from it
        refuse_if(permit.dates_refusal(self._node.site.now()))
        if not self._node.custody.holds(case):
            self._node.custody.create(case)
        pseudonyms = self._node.custody.custodian(case).evaluate(PSEUDONYMS)
        key = self._key(case, here.event.permit)
        found = extract(self._node.sources, permit, self._node.workspace(case), key=key, pseudonym_key=pseudonyms)
        fields = {"tables": found.tables, "objects": found.objects, "bytes": found.bytes, "ciphertext": found.sha256}
        manifest = Manifest.read({"case": case, "hospital": permit.hospital, "permit": here.event.permit, **fields})
        return Document.new(manifest.plain())

    def frame(self, case: str, permit: Permit, *, table: str, columns: set[str]) -> Frame:
        """The columns of a table that one question needs."""
        event = self._node.site.world.cases[case].permits[permit.hospital].event
        assert event is not None  # a job runs under a permit in force
        agreed = permit.tables[table].columns
        wanted = {name: agreed[name] for name in sorted(columns)}
        return vault.frame_parts(self._node.workspace(case), self._key(case, event.permit), table=table, columns=wanted)

    def source_frames(self, case: str, permit: Permit, table: str, wanted: list[dict[str, Agreed]]) -> list[Frame]:
        """The table as the source holds it now, once for each set of columns; people have the same codes in all of them.

        Columns are treated as they were agreed, whatever rules have come since; dates that a key moves are moved anew, alike in all.
        `Refused` where the source no longer holds such columns. Nothing is kept: each lies for a moment under a key that is never stored.
        """
        pseudonyms, frames = secrets.token_bytes(32), list[Frame]()
        folder = self._node.workspace(case).with_name(f"{case}.compared")
        for place, columns in enumerate(wanted):
            if columns in wanted[:place]:  # asked for in the same way: it is the same table
                frames.append(frames[wanted.index(columns)])
                continue
            key = secrets.token_bytes(32)
            agreed = AgreedTable(person=permit.tables[table].person, columns=columns)
            try:
                alone = permit.model_copy(update={"tables": {table: agreed}, "rules": {}})
                extract(self._node.sources, alone, folder, key=key, pseudonym_key=pseudonyms, judged=False)
                frames.append(vault.frame_parts(folder, key, table=table, columns=columns))
            except Invalid:
                raise Refused(NO_COMPARISON) from None
            finally:
                vault.purge(folder)
        return frames

    def make_unusable(self, case: str) -> None:
        """Drop the coordinator's half and fetch no other: from now on this node cannot read the workspace."""
        self._unusable.add(case)
        self._shares.pop(case, None)

    def make_usable(self, case: str) -> None:
        """The deletion was reversed by both sides."""
        self._unusable.discard(case)

    def is_destroyed(self, case: str) -> bool:
        return vault.is_destroyed(self._node.workspace(case))

    def sweep(self, case: str) -> bool:
        """Destroy again what a restored backup brought back of a destroyed workspace; whether there was anything."""
        folder = self._node.workspace(case)
        if not (folder.exists() or self._node.custody.holds(case)):
            return False
        vault.destroy(folder, self._node.custody.custodian(case))
        return True

    def _lost(self, case: str) -> bool:
        """Whether key and workspace stayed behind when this node was restored; written down, as destroying leaves traces of its own."""
        site, folder = self._node.site, self._node.workspace(case)
        traces = folder.exists() or folder.with_name(f"{case}.destroyed").exists() or self._node.custody.holds(case)
        if site.noted(CAME_BACK) is not None and not traces:
            site.note(f"lost|{case}", b"1")
        return site.noted(f"lost|{case}") is not None

    def _held(self, manifest: str | None) -> dict[str, int]:
        """What a workspace that was lost had held, as its manifest says."""
        if manifest is None:
            return {}
        held = Manifest.read(self._node.courier.document(manifest).body)
        return {"objects": held.objects, "bytes": held.bytes}

    def _manifest(self, case: str, here: PermitCase) -> str | None:
        """The commitment to the manifest of the workspace, also before the own copy of the log has it."""
        mine = [entry.event for entry in self._node.site.ahead() if entry.event.case == case]
        own = [event.manifest for event in mine if event.type == "WorkspaceOpened"]
        return own[-1] if own else here.manifest

    def destroy(self, case: str, found: Case, here: PermitCase) -> Document:
        """Destroy key, workspace, held outputs and all that jobs left; the signed certificate. May be called again after a crash."""
        assert here.event is not None  # only an issued permit ends
        site, permit = self._node.site, self.permit(case, here)
        lost = self._lost(case)
        outputs = f"output|{case}|"
        gone = vault.destroy(self._node.workspace(case), self._node.custody.custodian(case), held=site.count_notes(outputs))
        self.make_unusable(case)
        site.forget(outputs)
        remembered.close(site, case, found)
        purged = [
            {"what": "workspace", "removed": gone.objects, "residual": gone.residual},
            {"what": "scratch", "removed": gone.scratch, "residual": gone.residual},
            {"what": "held-outputs", "removed": gone.held, "residual": site.count_notes(outputs)},
        ]
        manifest = self._manifest(case, here)
        released = sorted(
            there.output
            for job in found.jobs.values()
            if (there := job.at.get(here.hospital)) and there.output and there.state == "released"
        )
        fields = {key: getattr(gone, key) for key in ("objects", "bytes", "algorithm", "method", "attempts", "failures")}
        if lost:
            fields |= {"method": LOST} | self._held(manifest)
        certificate = CertificateV2.read(
            {
                "version": 2,
                "case": case,
                "hospital": here.hospital,
                "permit": here.event.permit,
                "legal_basis": permit.legal_basis,
                "manifest": manifest,
                "purged": purged,
                "backups": [backup.plain() for backup in self._node.settings.backups],
                "released": released,
                "not_covered": LIMITS,
                "unprovable": UNPROVABLE,
                "at": site.instant(),
                **fields,
            }
        )
        return Document.new(parse_canonical(sign("certificate", certificate.plain(), site.keys)))
