"""A whole case played with real keys, the kernel's own rules and a real tree: what tests of the log, bundles and portals start from.

`play()` returns a `Casebook` after a legal case; `until="issued"` stops early, `release="automatic-if-clear"` takes the other way
out, and `book.force(...)` says something illegal, which the rules must refuse. Everything follows from the seed, to the byte.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from pumasi.kernel import event as ev
from pumasi.kernel import rules
from pumasi.kernel.certificate import LIMITS, UNPROVABLE, Backup, Certificate, CertificateV2, Manifest, Purge, ShareCertificate
from pumasi.kernel.envelope import Keys, b64, commit, detached, parse_canonical, possession, sha256, sign
from pumasi.kernel.event import CONSORTIUM, Entry
from pumasi.kernel.job import Job
from pumasi.kernel.permit import Permit
from pumasi.kernel.study import AgreedTable, Application
from pumasi.kernel.world import World
from pumasi.ledger import bundle
from pumasi.ledger.note import VKey, add_cosignature, cosign, cosigner_name, cosigner_vkey, log_vkey, policy_text, sign_checkpoint
from pumasi.ledger.tree import Tree, leaf_hash

ORIGIN = "log.pumasi.example/study"
COORDINATOR, PLATFORM = "coordinator", "platform"
HOSPITALS = {
    "바다대학교병원": "tertiary-hospital",
    "Mountain University Hospital": "tertiary-hospital",
    "들꽃병원": "hospital",
    "river-hospital": "hospital",
    "한밭 병원": "hospital",
}
COMPANIES = ["company-1", "company-2", "company-3"]
MEMBERS = {PLATFORM: "platform", **HOSPITALS, **dict.fromkeys(COMPANIES, "company")}
RESEARCHER = "researcher@company-1"
STEPS = (
    "founded", "members", "people", "datasets", "submitted", "committed", "reviewed", "authorised", "issued",
    "opened", "job", "sealed", "voted", "released", "done", "destroyed", "closed",
)  # fmt: skip
TABLE = {"person": "patient_no", "columns": {"age": ("quasi", None), "birth_date": ("quasi", "year"), "death14": ("sensitive", None)}}
# The same table at hospitals with rules of de-identification: one column treated as they say, one as the study asks.
BANDS = {"treat": '{ do = "age", width = 5 }', "kind": "text"}
MONTHS = {"treat": '{ do = "date", to = "month" }', "kind": "text"}
START = datetime(2026, 3, 2, tzinfo=UTC)


class Casebook:
    """One consortium, its log, and one case in it."""

    def __init__(self, seed: str = "pumasi", *, hospitals: int = 3, release: str = "two-people", drb: int = 3) -> None:
        self.seed, self.release, self.drb = seed, release, drb
        self.world, self.tree = World(), Tree()
        self.log: list[bytes] = []
        self.documents: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, Keys] = {}
        self.cosigners: dict[str, Ed25519PrivateKey] = {}
        self.hospitals = list(HOSPITALS)[:hospitals]
        self.absent: str | None = None  # who does not join
        self.ruled = False  # whether hospitals have rules of de-identification
        self.staffed: list[str] | None = None  # whose people are enrolled; None: all hospitals'
        self.origin, self.log_key = ORIGIN, Ed25519PrivateKey.from_private_bytes(self._bytes("log key"))
        self.case, self.job = self._bytes("case").hex()[:32], self._bytes("job").hex()[:32]
        self.output = self._bytes("output").hex()
        self._votes: dict[tuple[str, str | None], tuple[str, dict[str, Any]]] = {}
        self._ticks = 0

    def _bytes(self, what: str) -> bytes:
        return hashlib.sha256(f"{self.seed}/{what}".encode()).digest()

    def copy(self) -> Casebook:
        other = copy.copy(self)
        other.world, other.tree = copy.deepcopy(self.world), copy.deepcopy(self.tree)
        for name in ("log", "documents", "keys", "cosigners", "_votes"):
            setattr(other, name, copy.copy(getattr(self, name)))
        return other

    # --- saying things ---

    def keys_of(self, author: str) -> Keys:
        if author not in self.keys:
            self.keys[author] = Keys(
                Ed25519PrivateKey.from_private_bytes(self._bytes(f"signing {author}")),
                X25519PrivateKey.from_private_bytes(self._bytes(f"box {author}")),
            )
        return self.keys[author]

    def now(self) -> str:
        return (START + timedelta(seconds=self._ticks)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def entry(self, kind: type[Any], author: str, /, *, case: str | None = None, keys: Keys | None = None, **fields: Any) -> Entry:
        """The next event of this author, signed, not yet in the log. `fields` may override even `seq` or `prev`."""
        self._ticks += 1
        case = case or self.case
        seq, prev = self.world.chain(case, author)
        common = {"type": kind.__name__, "case": case, "author": author, "seq": seq, "prev": prev, "at": self.now()}
        event = kind.model_validate(common | fields)
        return Entry(sign("event", ev.body_of(event), keys or self.keys_of(author)))

    def say(self, kind: type[Any], author: str, /, **fields: Any) -> Entry:
        """Let the next event of this author follow; the rules may refuse it."""
        entry = self.entry(kind, author, **fields)
        rules.apply(self.world, entry)
        self.append_raw(entry.data)
        return entry

    def force(self, kind: type[Any], author: str, /, **fields: Any) -> list[str]:
        """Write an event into the log whatever the rules say; returns what they said."""
        entry = self.entry(kind, author, **fields)
        reasons = rules.refusals(self.world, entry)
        self.append_raw(entry.data)
        return reasons

    def keep(self, body: Any) -> str:
        """Keep a document behind a salted commitment, which is returned."""
        salt = self._bytes(f"salt {len(self.documents)}").hex()
        commitment = commit(salt, body)
        self.documents[commitment] = {"salt": salt, "body": body}
        return commitment

    def keep_signed(self, kind: Any, body: Any, author: str) -> str:
        return self.keep(parse_canonical(sign(kind, body, self.keys_of(author))))

    def body(self, commitment: str) -> Any:
        """The body of a kept document; of a signed one, what was signed."""
        body = self.documents[commitment]["body"]
        return body["body"] if body.keys() == {"body", "key", "sig"} else body

    # --- the steps, each legal after the one before ---

    def founded(self) -> None:
        keys = self.keys_of(COORDINATOR)
        log_key = Keys(self.log_key, keys.box).public
        self.say(ev.LogFounded, COORDINATOR, case=CONSORTIUM, origin=ORIGIN, log_key=log_key, key=keys.public, box=keys.box_public)

    def members(self) -> None:
        for name, kind in MEMBERS.items():
            if name != self.absent:
                self.member(name, kind)

    def member(self, name: str, kind: str) -> None:
        """A member applies and is admitted; a medical institution brings a cosigner key."""
        self.apply_only(name, kind)
        self.say(ev.MemberAdmitted, COORDINATOR, case=CONSORTIUM, member=name)

    def apply_only(self, name: str, kind: str) -> None:
        keys, cosigner = self.keys_of(name), None
        if "hospital" in kind:
            self.cosigners[name] = Ed25519PrivateKey.from_private_bytes(self._bytes(f"cosigner {name}"))
            cosigner = Keys(self.cosigners[name], keys.box).public
        self.say(ev.MemberApplied, name, case=CONSORTIUM, kind=kind, key=keys.public, box=keys.box_public, cosigner=cosigner)

    def people(self) -> None:
        self.person(RESEARCHER, "researcher")
        self.person("other@company-2", "researcher")
        for hospital in HOSPITALS if self.staffed is None else self.staffed:
            for number in range(self.drb):
                self.person(f"drb-{number}@{hospital}", "drb")
            self.person(f"irb@{hospital}", "irb")
            self.person(f"steward@{hospital}", "steward")
            self.person(f"checker-0@{hospital}", "checker")
            self.person(f"checker-1@{hospital}", "checker")

    def person(self, name: str, *roles: str) -> None:
        keys = self.keys_of(name)
        member = name.partition("@")[2]
        fields = {"person": name, "key": keys.public, "box": keys.box_public, "roles": list(roles)}
        self.say(ev.PersonEnrolled, member, case=CONSORTIUM, **fields)

    def datasets(self) -> None:
        for hospital in HOSPITALS if self.staffed is None else self.staffed:
            self.say(ev.DatasetDescribed, hospital, case=CONSORTIUM, dataset=self._bytes(f"dataset {hospital}").hex())

    def application(self, **changes: Any) -> str:
        """Keep the application document."""
        columns = {name: {"is": is_, "keep": keep} for name, (is_, keep) in TABLE["columns"].items()}  # type: ignore[attr-defined]
        columns["name"] = {"is": "identifier"}
        if self.ruled:
            columns["birth_date"] = {"is": "quasi", **MONTHS}
        document = {
            "title": "뇌졸중 뒤 14일 안의 사망", "purpose": "scientific-research", "smallest_cell": 10, "applicant": RESEARCHER,
            "case": self.case, "tables": {"patients": {"person": TABLE["person"], "columns": columns}}, "kinds": ["table", "glm"],
            "hospitals": self.hospitals, "datasets": {name: self._bytes(f"dataset {name}").hex() for name in self.hospitals},
        }  # fmt: skip
        return self.keep(Application.read(document).plain() | changes)

    def append_raw(self, data: bytes) -> None:
        """Put bytes into the log that no kernel has looked at."""
        self.tree.append(leaf_hash(data))
        self.log.append(data)

    def submitted(self) -> None:
        other = self._bytes("another case").hex()[:32]
        self.say(
            ev.ApplicationSubmitted, "other@company-2", case=other, application="00" * 32, hospitals=[self.hospitals[0]], smallest_cell=5
        )
        self.say(ev.ApplicationSubmitted, RESEARCHER, application=self.application(), hospitals=self.hospitals, smallest_cell=10)

    @property
    def applied(self) -> str:
        return self.world.cases[self.case].event.application

    def commit_vote(self, voter: str, *, job: str | None = None, decision: str = "approve", smallest_cell: int | None = None) -> None:
        salt = self._bytes(f"vote {voter} {job}").hex()
        vote = {"decision": decision, "reason": self._bytes(f"reason {voter} {job}").hex(), "smallest_cell": smallest_cell}
        self._votes[(voter, job)] = (salt, vote)
        subject, board = (self.output, "airlock") if job else (self.applied, "drb")
        self.say(ev.VoteCommitted, voter, board=board, job=job, subject=subject, vote=commit(salt, vote))

    def vote_opened(self, voter: str, *, job: str | None = None) -> dict[str, Any]:
        """The fields with which a voter opens the committed vote."""
        salt, vote = self._votes[(voter, job)]
        return {"board": "airlock" if job else "drb", "job": job, "salt": salt, **vote}

    def committed_vote(self, voter: str, *, job: str | None = None) -> str:
        salt, vote = self._votes[(voter, job)]
        return commit(salt, vote)

    def open_vote(self, voter: str, *, job: str | None = None) -> None:
        self.say(ev.VoteOpened, voter, **self.vote_opened(voter, job=job))

    def drb_of(self, hospital: str) -> list[str]:
        """As many of the board as its quorum asks for."""
        return [f"drb-{number}@{hospital}" for number in range(self.drb // 2 + 1)]

    def committed(self) -> None:
        for hospital in self.hospitals:
            for number, voter in enumerate(self.drb_of(hospital)):
                self.commit_vote(voter, smallest_cell=12 if number == 0 else None)

    def reviewed(self) -> None:
        for hospital in self.hospitals:
            for voter in self.drb_of(hospital):
                self.open_vote(voter)
            reason = self._bytes(f"irb {hospital}").hex()
            self.say(ev.IrbDecided, f"irb@{hospital}", application=self.applied, decision="exempt", reason=reason)

    def authorised(self) -> None:
        for hospital in self.hospitals:
            self.say(ev.PermitAuthorised, f"steward@{hospital}", application=self.applied)

    def permit(self, hospital: str, /, *, signer: str | None = None, **changes: Any) -> str:
        """Keep the signed permit of a hospital."""
        columns: dict[str, dict[str, Any]] = {
            name: {"is": is_, "keep": keep, "kind": "number", "levels": [], "two_valued": False}
            for name, (is_, keep) in TABLE["columns"].items()  # type: ignore[attr-defined]
        }
        if self.ruled:
            columns |= {
                name: {"is": "quasi", **how, "levels": [], "two_valued": False} for name, how in (("age", BANDS), ("birth_date", MONTHS))
            }
        rules = {"version": 2, "rules": {"patients": {"name": "kr-pseudonym", "sha256": self._bytes("rules").hex()}}} if self.ruled else {}
        document = Permit(
            case=self.case, hospital=hospital, applicant=RESEARCHER, applicant_key=self.keys_of(RESEARCHER).public,
            purpose="scientific-research", legal_basis="pipa-28-2", application=self.applied,
            tables={"patients": AgreedTable.model_validate({"person": TABLE["person"], "columns": columns})}, kinds=["table", "glm"],
            hospitals=self.hospitals, **self.terms(),
        )  # fmt: skip
        return self.keep_signed("permit", document.plain() | rules | changes, signer or hospital)

    def terms(self) -> dict[str, Any]:
        at_least = min(2, len(self.hospitals))
        dates = {"valid_from": "2026-03-01", "valid_until": "2026-12-31"}
        return {"smallest_cell": 12, "hospitals_at_least": at_least, "release": self.release, **dates}

    def head(self) -> dict[str, Any]:
        return {"size": self.tree.size, "root": self.tree.root().hex()}

    def issued(self) -> None:
        for hospital in self.hospitals:
            self.say(ev.PermitIssued, hospital, permit=self.permit(hospital), seen=self.head(), **self.terms())

    def permit_digest(self, hospital: str) -> str:
        issued = self.world.cases[self.case].permits[hospital].event
        assert issued is not None
        return issued.permit

    def manifest(self, hospital: str, /, **changes: Any) -> str:
        document = Manifest(
            case=self.case, hospital=hospital, permit=self.permit_digest(hospital), tables={"patients": ["patient_no", "age", "death14"]},
            objects=1, bytes=4096, ciphertext=self._bytes(f"ciphertext {hospital}").hex(),
        )  # fmt: skip
        return self.keep(document.plain() | changes)

    def opened(self) -> None:
        for hospital in self.hospitals:
            self.say(ev.WorkspaceOpened, hospital, manifest=self.manifest(hospital))

    def job_document(self, *, signer: str = RESEARCHER, **changes: Any) -> str:
        document = Job(
            job=self.job, case=self.case, applicant=RESEARCHER, applicant_box=self.keys_of(RESEARCHER).box_public,
            permits={hospital: self.permit_digest(hospital) for hospital in self.hospitals}, lead=self.hospitals[0], smallest_cell=12,
            code=sha256(b"code"),
            questions=[
                {"name": "who", "kind": "table", "table": "patients", "by": ["death14"]},
                {"name": "model", "kind": "glm", "table": "patients", "family": "binomial", "formula": "death14 ~ age", "design": {
                    "outcome": "death14",
                    "columns": [{"name": "Intercept", "factors": []}, {"name": "age", "factors": [{"column": "age"}]}],
                }},
            ],
        )  # fmt: skip
        return self.keep_signed("job", document.plain() | changes, signer)

    def submit_job(self) -> None:
        fields = {"document": self.job_document(), "hospitals": self.hospitals, "lead": self.hospitals[0]}
        self.say(ev.JobSubmitted, RESEARCHER, job=self.job, **fields)

    def sealed(self) -> None:
        for hospital in self.hospitals:
            self.say(ev.OutputSealed, hospital, job=self.job, output=self.output, findings="clear")

    def checkers_of(self, hospital: str) -> list[str]:
        return [f"checker-0@{hospital}", f"checker-1@{hospital}"]

    def voted(self) -> None:
        if self.release == "two-people":
            for hospital in self.hospitals:
                for checker in self.checkers_of(hospital):
                    self.commit_vote(checker, job=self.job)
                for checker in self.checkers_of(hospital):
                    self.open_vote(checker, job=self.job)

    def released(self) -> None:
        for hospital in self.hospitals:
            reviewers = self.checkers_of(hospital) if self.release == "two-people" else []
            self.say(ev.Released, hospital, job=self.job, output=self.output, reviewers=reviewers)

    def done(self) -> None:
        self.say(ev.StudyDone, RESEARCHER)

    def certificate(self, hospital: str, /, *, signer: str | None = None, **changes: Any) -> str:
        document = Certificate(
            case=self.case, hospital=hospital, permit=self.permit_digest(hospital), legal_basis="pipa-28-2",
            algorithm="AES-256-GCM", method="file overwritten and removed", objects=1, bytes=4096, attempts=3, failures=3, residual=0,
            released=[self.output], not_covered=LIMITS, at=self.now(),
        )  # fmt: skip
        return self.keep_signed("certificate", document.plain() | changes, signer or hospital)

    def certificate_v2(self, hospital: str, /, *, signer: str | None = None, **changes: Any) -> str:
        manifests = [event.manifest for event in self.events_of(hospital) if isinstance(event, ev.WorkspaceOpened)]
        purged = [Purge(what="workspace", removed=1, residual=0), Purge(what="held-outputs", removed=1, residual=0)]
        document = CertificateV2(
            version=2, case=self.case, hospital=hospital, permit=self.permit_digest(hospital), legal_basis="pipa-28-2",
            manifest=manifests[-1], objects=1, bytes=4096, algorithm="AES-256-GCM", method="file overwritten and removed", attempts=3,
            failures=3, purged=purged, backups=[Backup(what="weekly tape", until="2026-12-31")], released=[self.output],
            not_covered=LIMITS, unprovable=UNPROVABLE, at=self.now(),
        )  # fmt: skip
        return self.keep_signed("certificate", document.plain() | changes, signer or hospital)

    def share_certificate(self, hospital: str, /, *, signer: str = COORDINATOR, **changes: Any) -> str:
        document = ShareCertificate(
            case=self.case, hospital=hospital, permit=self.permit_digest(hospital), method="file overwritten and removed",
            attempts=3, failures=3, backups=[], at=self.now(),
        )  # fmt: skip
        return self.keep_signed("share-certificate", document.plain() | changes, signer)

    def events_of(self, author: str) -> list[Any]:
        return [event for event in (Entry(data).event for data in self.log) if event.author == author and event.case == self.case]

    def new_keys(self, who: str) -> Keys:
        count = f"{who} {len(self.log)}"
        return Keys(
            Ed25519PrivateKey.from_private_bytes(self._bytes(f"signing {count}")),
            X25519PrivateKey.from_private_bytes(self._bytes(f"box {count}")),
        )

    def change(self, who: str, new: Keys, *, cosigner: str | None = None, prover: Keys | None = None) -> dict[str, Any]:
        """The fields with which `who` announces new keys."""
        fields = {"key": new.public, "box": new.box_public, "cosigner": cosigner}
        proof = possession({"author": who, **fields, "replaces": self.keys_of(who).public}, prover or new)
        return {"case": CONSORTIUM, **fields, "proof": proof}

    def rotate(self, who: str) -> None:
        """New keys of a party, cosigning too if it cosigns."""
        new, cosigner = self.new_keys(who), None
        if who in self.cosigners:
            self.cosigners[who] = Ed25519PrivateKey.from_private_bytes(self._bytes(f"cosigner {who} {len(self.log)}"))
            cosigner = Keys(self.cosigners[who], new.box).public
        self.say(ev.KeyRotated, who, **self.change(who, new, cosigner=cosigner))
        self.keys[who] = new

    def handover(self, who: str = COORDINATOR, *, signers: Iterable[str] | None = None, **changes: Any) -> tuple[Keys, dict[str, Any]]:
        """New keys for `who` as coordinating body, and the fields of the event with which these members (None: all) move the log there."""
        new, origin = self.new_keys(who), f"log.pumasi.example/{len(self.world.logs) + 1}"
        said = {
            "author": who, "size": self.tree.size, "root": self.tree.root().hex(), "replaces": self.world.logs[-1].key, "origin": origin,
            "log_key": self.new_keys(f"log {who}").public, "key": new.public, "box": new.box_public, "place": "https://hub.example:8443",
            "certificate": sha256(b"certificate"),
        } | changes  # fmt: skip
        signers = sorted(self.cosigners if signers is None else signers)
        signatures = [
            {"member": name, "key": self.public(self.cosigners[name]), "signature": detached("handover", said, self.cosigners[name])}
            for name in signers
        ]
        return new, {"case": CONSORTIUM, "signatures": signatures, **{name: value for name, value in said.items() if name != "author"}}

    def hand_over(self, who: str = COORDINATOR, **changes: Any) -> None:
        """The log goes on under new keys and another name."""
        new, fields = self.handover(who, **changes)
        log_key = self.new_keys(f"log {who}").signing
        self.say(ev.LogHandedOver, who, keys=new, **fields)
        self.keys[who], self.origin, self.log_key = new, fields["origin"], log_key

    def rotate_log(self) -> None:
        new = self.new_keys("log").signing
        said = {"author": COORDINATOR, "log_key": self.public(new), "replaces": self.world.logs[-1].key}
        consent, proof = (detached("log-key-rotation", said, key) for key in (self.log_key, new))
        self.say(ev.LogKeyRotated, COORDINATOR, case=CONSORTIUM, log_key=said["log_key"], consent=consent, proof=proof)
        self.log_key = new

    @staticmethod
    def public(key: Ed25519PrivateKey) -> str:
        return b64(key.public_key().public_bytes_raw())

    def revoke(self, who: str, *, by: str) -> None:
        self.say(ev.KeyRevoked, by, case=CONSORTIUM, subject=who)
        self.cosigners.pop(who, None)

    def until(self, days: float = 7) -> str:
        return (START + timedelta(seconds=self._ticks, days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def pending(self) -> None:
        """Deletion in two steps, as of version 2: pending for a week."""
        for hospital in self.hospitals:
            self.say(ev.DeletionPending, hospital, until=self.until())

    def certified(self) -> None:
        """Destroyed, with a certificate of each side."""
        for hospital in self.hospitals:
            self.say(ev.WorkspaceDestroyed, hospital, certificate=self.certificate_v2(hospital))
            self.say(ev.ShareCertified, COORDINATOR, hospital=hospital, certificate=self.share_certificate(hospital))

    def destroyed(self) -> None:
        for hospital in self.hospitals:
            self.say(ev.KeyShareDestroyed, COORDINATOR, hospital=hospital)
            self.say(ev.WorkspaceDestroyed, hospital, certificate=self.certificate(hospital))

    def counts(self) -> dict[str, int]:
        return {"events": self.world.cases[self.case].events, "consortium": self.world.consortium_events}

    def closed(self) -> None:
        self.say(ev.CaseClosed, COORDINATOR, **self.counts())

    def play(self, *, until: str = "closed", after: str | None = None) -> Casebook:
        """Take the steps from the one behind `after` up to and with `until`."""
        first = STEPS.index(after) + 1 if after else 0
        for step in STEPS[first : STEPS.index(until) + 1]:
            (self.submit_job if step == "job" else getattr(self, step))()
        return self

    # --- what others see ---

    def checkpoint(self, size: int | None = None, *, cosigners: Iterable[str] | None = None) -> str:
        """The signed head, cosigned by these members (None: by all that can)."""
        size = self.tree.size if size is None else size
        note = sign_checkpoint(self.origin, size=size, root=self.tree.root(size), key=self.log_key)
        for member in self.cosigners if cosigners is None else cosigners:
            time = int(START.timestamp()) + self._ticks
            line = cosign(note, cosigner_name(self.origin, member), key=self.cosigners[member], time=time)
            note = add_cosignature(note, line)
        return note

    def policy(self, *, quorum: int = 3) -> str:
        box = self.keys_of(COORDINATOR).box
        witnesses = [cosigner_vkey(self.origin, member, Keys(key, box).public) for member, key in self.cosigners.items()]
        return policy_text(log_vkey(self.origin, Keys(self.log_key, box).public), witnesses, quorum=quorum)

    def entries(self) -> list[tuple[int, bytes]]:
        return bundle.select(self.case, enumerate(self.log))[0]

    def bundle(self, *, checkpoint: str | None = None, witnesses: Iterable[VKey] = ()) -> bytes:
        note = checkpoint or self.checkpoint()
        given: dict[str, Any] = {"tree": self.tree, "documents": self.documents, "witnesses": witnesses}
        return bundle.build(self.case, entries=self.entries(), checkpoint=note, **given)


def play_certified(until: str = "closed", **options: Any) -> Casebook:
    """A case that ends as of version 2: "pending", "certified" or "closed"."""
    book = play(until="done", **options)
    for step in ("pending", "certified", "closed"):
        getattr(book, step)()
        if step == until:
            break
    return book


def play_ruled(until: str = "closed") -> Casebook:
    """A case at hospitals with rules of de-identification, which their permits name."""
    book = play(until="datasets")
    book.ruled = True
    return book.play(until=until, after="datasets")


def play(*, until: str = "closed", seed: str = "pumasi", hospitals: int = 3, release: str = "two-people", drb: int = 3) -> Casebook:
    """A consortium and one legal case in it, up to and with the step `until` (see `STEPS`). A copy: do with it what you like."""
    return _played(until, seed, hospitals, release, drb).copy()


@cache
def _played(until: str, seed: str, hospitals: int, release: str, drb: int) -> Casebook:
    at = STEPS.index(until)
    if at == 0:
        return Casebook(seed, hospitals=hospitals, release=release, drb=drb).play(until=until)
    return _played(STEPS[at - 1], seed, hospitals, release, drb).copy().play(until=until, after=STEPS[at - 1])
