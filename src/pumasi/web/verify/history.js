"use strict";
/* Step 5: history. The events are replayed: each is signed with a key that the log introduced before, by somebody whose role allows it, in
   an unbroken chain per author and case. The tables and the `on` functions are those of verify.py, in the same order. */

const MAY = {
  LogFounded: "founder", MemberApplied: "self", MemberAdmitted: "coordinator", PersonEnrolled: "member",
  DatasetDescribed: "hospital", ApplicationSubmitted: "researcher", ApplicationWithdrawn: "applicant",
  VoteCommitted: "board member", VoteOpened: "board member", IrbDecided: "irb", PermitAuthorised: "steward",
  PermitIssued: "hospital", WorkspaceOpened: "hospital", JobSubmitted: "applicant", OutputSealed: "hospital",
  JobFailed: "hospital", Released: "hospital", StudyDone: "applicant", PermitEnded: "steward or hospital",
  WorkspaceDestroyed: "hospital", KeyShareDestroyed: "coordinator", CaseClosed: "coordinator",
  DeletionPending: "hospital", ReversalAsked: "steward", ReversalAgreed: "coordinator", ShareCertified: "coordinator",
  KeyRotated: "key holder", KeyRevoked: "member", LogHandedOver: "self", LogKeyRotated: "coordinator",
};
/* State -> the events that are possible in it. */
const CASE_MOVES = {
  submitted: { ApplicationWithdrawn: "withdrawn", StudyDone: "done", ReversalAgreed: "submitted" },
  withdrawn: { CaseClosed: "closed" },
  done: { CaseClosed: "closed", ReversalAgreed: "submitted" },
};
const PERMIT_MOVES = {
  "in review": { VoteCommitted: "in review", VoteOpened: "in review", IrbDecided: "in review", PermitAuthorised: "authorised" },
  authorised: { PermitIssued: "in force" },
  "in force": { WorkspaceOpened: "open", PermitEnded: "ended" },
  open: { OutputSealed: "open", Released: "open", PermitEnded: "ended" },
  ended: { KeyShareDestroyed: "ended", WorkspaceDestroyed: "destroyed", DeletionPending: "deletion pending", ShareCertified: "ended" },
  "deletion pending": { ReversalAsked: "reversal asked", WorkspaceDestroyed: "destroyed", ShareCertified: "deletion pending" },
  "reversal asked": { ReversalAgreed: "open", WorkspaceDestroyed: "destroyed", ShareCertified: "reversal asked" },
  destroyed: { KeyShareDestroyed: "destroyed", ShareCertified: "destroyed" },
};
const DAY_MS = 24 * 60 * 60 * 1000, LONGEST_GRACE = 31 * DAY_MS; // of a pending deletion
const AT_THE_END = { "in review": "lapsed", authorised: "lapsed", "in force": "ended", open: "ended" }; // StudyDone, ApplicationWithdrawn
const OUTPUT_MOVES = {
  running: { OutputSealed: "under review", JobFailed: "failed" },
  "under review": { JobFailed: "failed", VoteCommitted: "under review", VoteOpened: "under review", Released: "released" },
};
const HANDOVER = ["author", "size", "root", "replaces", "origin", "log_key", "key", "box", "place", "certificate"]; // what is signed of it
const BOARDS = {
  drb: ["data review board", 1],
  irb: ["ethics board", 1],
  steward: ["data steward", 1],
  checker: ["two output checkers", 2],
};

function isPossible(moves, state, type) {
  return has(moves, state) && has(moves[state], type);
}

/** More than two thirds of `count`: two such sets share an honest one, while at most f of 3f + 1 are not. */
function quorumOf(count) {
  return Math.floor(2 * count / 3) + 1;
}

function isSubset(some, all) {
  return some.every((item) => all.includes(item));
}

function sameItems(one, two) {
  return one.length === two.length && one.every((item, at) => item === two[at]);
}

/** Whether an instant is before the midnight in Seoul that ends a day. */
function isBeforeTheEndOf(day, instant) {
  return Date.parse(instant) - Date.parse(`${day}T00:00:00Z`) < DAY_MS * (24 - 9) / 24;
}

/** Votes are committed blind and opened once the quorum has committed. A review board needs more than half, an airlock all. */
class Board {
  constructor(subject, quorum, { unanimous }) {
    Object.assign(this, { subject, quorum, unanimous, committed: new Map(), opened: new Map() });
  }

  get approvals() {
    return [...this.opened.values()].filter((vote) => vote.decision === "approve").length;
  }

  get approved() {
    const votes = this.committed.size;
    const enough = this.unanimous ? votes : Math.floor(votes / 2) + 1;
    return votes >= this.quorum && this.opened.size === votes && this.approvals >= enough;
  }
}

/** One hospital's side of the case: `issued` is the event, `permit` and `manifest` are documents, `released` digest -> reviewers. */
class Side {
  constructor(board) {
    Object.assign(this, { board, state: "in review", irb: null, steward: "", issued: null, permit: null, manifest: null });
    Object.assign(this, { released: new Map(), shareDestroyed: false, expired: false, until: "", manifestCommitment: null });
  }
}

/** One job: its document, and the output at each of its hospitals. */
class Job {
  constructor(document, hospitals) {
    const output = () => ({ state: "running", digest: "", findings: "", board: new Board("", 2, { unanimous: true }) });
    Object.assign(this, { document, at: new Map(hospitals.map((hospital) => [hospital, output()])) });
  }

  get outputs() {
    return [...this.at.values()];
  }

  get isRunning() {
    const states = this.outputs.map((output) => output.state);
    return states.includes("running") && !states.includes("failed");
  }

  notFailed() {
    return [this.outputs.every((output) => output.state !== "failed"), say`the job failed at one of its hospitals`];
  }
}

/** What is true after the events so far. `follow` lets the next one follow, or says why it may not. */
class CaseHistory {
  constructor(caseId, documents, { mayBeErased }) {
    Object.assign(this, { case: caseId, documents, used: new Set(), state: "-", submitted: null, application: null, founded: null });
    Object.assign(this, { members: new Map(), people: new Map(), described: new Set(), sides: new Map(), jobs: new Map() });
    Object.assign(this, { mayBeErased, erased: new Map() }); // commitment -> kind
    Object.assign(this, { votes: new Set(), keys: new Set(), chains: new Map(), counts: new Map() });
    Object.assign(this, { coordinator: "", logs: [], handed: [] }); // since which size which name and key sign, and by whom it was wanted
  }

  async follow({ index, event, signed, digest }) {
    const chain = `${event.case} ${event.author}`;
    const last = this.chains.get(chain) ?? { count: 0, digest: null, at: "" };
    need(
      [event.case === CONSORTIUM || event.case === this.case, say`the event belongs to another case`],
      [this.state !== "closed", say`nothing in a bundle follows the closing event`],
      [this.founded !== null || event.type === "LogFounded", say`the first event of a log is LogFounded`],
      [event.seq === last.count && event.prev === last.digest, say`an event of this author was left out, repeated or reordered`],
      [event.at >= last.at, say`the event is dated before its author's last one`],
    );
    await checkSigned(signed, "event");
    this.checkAuthor(event, signed);
    this.index = index;
    await this[`on${event.type}`](event);
    this.chains.set(chain, { count: last.count + 1, digest, at: event.at });
    this.counts.set(event.case, this.countOf(event.case) + 1);
  }

  countOf(caseId) {
    return this.counts.get(caseId) ?? 0;
  }

  // who may speak

  checkAuthor(event, signed) {
    const who = MAY[event.type];
    if (who === "founder" || who === "self") {
      need([signed.key === event.key, say`it is not signed with the key that it announces`]);
      return;
    }
    const author = this.people.get(event.author) ?? this.members.get(event.author);
    need([author?.key === signed.key, say`the log has not introduced this key as that of '${event.author}'`]);
    need([this.may(who, event), say`this is for the ${word(who)}, and '${event.author}' is not`]);
  }

  may(who, event) {
    const name = event.author, person = this.people.get(name);
    const roles = person?.roles ?? [], home = person?.member ?? name;
    const atHospital = event.case === this.case && this.sides.has(home);
    switch (who) {
      case "coordinator":
        return name === this.coordinator;
      case "member":
        return this.members.get(name)?.admitted === true;
      case "hospital":
        return this.isMedical(name) && (event.case === CONSORTIUM || atHospital);
      case "key holder":
        return true; // with whose key it is signed
      case "researcher":
        return roles.includes("researcher");
      case "applicant":
        return event.case === this.case && name === this.submitted?.author;
      case "board member":
        return atHospital && roles.includes(event.board === "drb" ? "drb" : "checker");
      case "steward or hospital":
        return atHospital && ((roles.includes("steward") && home === event.hospital) || name === event.hospital);
      default:
        return atHospital && roles.includes(who);
    }
  }

  isMedical(name) {
    const member = this.members.get(name);
    return member !== undefined && member.admitted && MEDICAL.includes(member.kind);
  }

  sizeOf(role, hospital) {
    return [...this.people.values()].filter((person) => person.member === hospital && person.roles.includes(role)).length;
  }

  // what an event is about

  sideOf(event) {
    const hospital = event.hospital ?? this.people.get(event.author)?.member ?? event.author;
    need([event.case === this.case && this.sides.has(hospital), say`it concerns a case or hospital that is not there`]);
    return [hospital, this.sides.get(hospital)];
  }

  outputOf(event) {
    const [hospital] = this.sideOf(event), job = this.jobs.get(event.job), output = job?.at.get(hospital);
    need([output !== undefined, say`there is no such job at this hospital`]);
    const possible = isPossible(OUTPUT_MOVES, output.state, event.type);
    need([possible, say`${event.type} is not possible while the output is '${word(output.state)}'`]);
    return [job, output];
  }

  boardOf(event) {
    if (event.board === "airlock") return this.outputOf(event)[1].board;
    need([event.job === null, say`a data review board votes on applications, not on jobs`]);
    return this.moving(event)[1].board;
  }

  /** The hospital's side that the event moves to its next state. */
  moving(event) {
    const [hospital, side] = this.sideOf(event);
    const possible = isPossible(PERMIT_MOVES, side.state, event.type);
    need([possible, say`${event.type} is not possible while the permit is '${word(side.state)}'`]);
    return [hospital, side];
  }

  // membership

  onLogFounded(event) {
    this.introduce(event, this.isNoPerson(event), [this.founded === null, say`the log was founded before`]);
    Object.assign(this, { founded: event, coordinator: event.author });
    this.logs.push({ since: 1, origin: event.origin, key: event.log_key, by: [] });
    this.members.set(event.author, { key: event.key, kind: "coordinator", cosigner: null, admitted: true });
  }

  onMemberApplied(event) {
    this.introduce(
      event,
      this.isNoPerson(event),
      [this.isNew(event.author), say`the member has applied before`],
      [(this.members.get(event.author)?.kind ?? event.kind) === event.kind, say`a member whose key was revoked comes back as what it was`],
      [event.kind !== "coordinator", say`a log has one coordinating body`],
    );
    this.members.set(event.author, { key: event.key, kind: event.kind, cosigner: event.cosigner, admitted: false });
  }

  onMemberAdmitted(event) {
    const waiting = this.members.get(event.member)?.admitted === false;
    need(this.inConsortium(event), [waiting, say`the member has not applied, or is admitted already`]);
    this.members.get(event.member).admitted = true;
  }

  onPersonEnrolled(event) {
    const { person, roles } = event;
    this.introduce(
      event,
      [person.slice(person.indexOf("@") + 1) === event.author, say`a member enrols its own people only`],
      [this.isNew(person), say`the person is enrolled already`],
      [!roles.includes("researcher") || roles.every((role) => role === "researcher"), say`researcher goes with no other role`],
    );
    this.people.set(person, { key: event.key, member: event.author, roles });
  }

  onDatasetDescribed(event) {
    need(this.inConsortium(event));
    this.described.add(event.author);
  }

  async onKeyRotated(event) {
    const party = this.people.get(event.author) ?? this.members.get(event.author), { author, key, box, cosigner } = event;
    const message = joined(utf8("pumasi/key-rotation/v1\n"), canonical({ author, key, box, cosigner, replaces: party.key }));
    const proven = await signatureHolds(unbase64(key, 32), unbase64(event.proof, 64), message);
    this.introduce(
      event,
      [proven, say`the new key has not signed the change`],
      [cosigner === null || this.members.has(author), say`only a member cosigns the log`],
      [key !== cosigner, say`a new key is one that nobody has used`],
    );
    const cosigned = [...(party.cosigned ?? []), ...(cosigner !== null && party.cosigner ? [party.cosigner] : [])];
    Object.assign(party, { key, former: [...(party.former ?? []), party.key], cosigner: cosigner ?? party.cosigner, cosigned });
  }

  onKeyRevoked(event) {
    const { subject, author } = event, person = this.people.get(subject), member = this.members.get(subject);
    const own = person?.member === author, other = member !== undefined && author === this.coordinator && author !== subject;
    const party = person ?? member;
    need(
      this.inConsortium(event),
      [own || other, say`a member revokes the keys of its own people, the coordinating body those of other members`],
      [party?.key !== "", say`the key is revoked already`],
    );
    Object.assign(party, { key: "", former: [], cosigner: null, cosigned: [], admitted: false });
  }

  /** The quorum of those that cosign moves the log; the successor is the coordinating body from here on. */
  async onLogHandedOver(event) {
    const cosigning = [...this.members].filter(([, { admitted, cosigner }]) => admitted && cosigner !== null);
    const cosigners = new Map(cosigning.map(([name, { cosigner }]) => [name, cosigner]));
    const signers = event.signatures.map(({ member }) => member), ordered = [...new Set(signers)].sort(byCodePoint);
    const said = joined(utf8("pumasi/handover/v1\n"), canonical(Object.fromEntries(HANDOVER.map((name) => [name, event[name]]))));
    const check = ({ key, signature }) => signatureHolds(unbase64(key, 32), unbase64(signature, 64), said);
    const holds = await Promise.all(event.signatures.map(check));
    this.introduce(
      event,
      this.isNoPerson(event),
      [event.author === this.coordinator || !this.members.has(event.author), say`the successor is a member already`],
      [event.size === this.index, say`the handover is about another length of the log than it has here`],
      [event.replaces === this.logs.at(-1).key, say`the handover is from another log key than the present one`],
      [!this.logs.some(({ origin }) => origin === event.origin), say`a log that is handed over gets a new origin`],
      [event.log_key !== event.key, say`a new key is one that nobody has used`],
      [sameItems(signers, ordered), say`the signatures stand once each, in order`],
      [event.signatures.every(({ member, key }) => cosigners.get(member) === key),
        say`somebody has signed the handover who does not cosign the log`],
      [holds.every((one) => one), say`a signature on the handover does not hold`],
      [ordered.length >= quorumOf(cosigners.size), say`fewer have signed the handover than it takes`],
    );
    Object.assign(this.members.get(this.coordinator), { key: "", former: [], admitted: false });
    this.coordinator = event.author;
    this.members.set(event.author, { key: event.key, kind: "coordinator", cosigner: null, admitted: true });
    this.logs.push({ since: this.index + 1, origin: event.origin, key: event.log_key, by: signers });
    this.handed.push({ size: event.size, root: event.root });
  }

  async onLogKeyRotated(event) {
    const present = this.logs.at(-1), { author, log_key } = event;
    const said = joined(utf8("pumasi/log-key-rotation/v1\n"), canonical({ author, log_key, replaces: present.key }));
    const agreed = await Promise.all([[present.key, event.consent], [log_key, event.proof]].map(([key, signature]) =>
      signatureHolds(unbase64(key, 32), unbase64(signature, 64), said)));
    this.introduce(event, [agreed.every((one) => one), say`the log's present key and its new one have not both signed the change`]);
    this.logs.push({ since: this.index + 1, origin: present.origin, key: log_key, by: [] });
  }

  /** The key that must have signed a head over `size` entries. */
  logAt(size) {
    return this.logs.findLast(({ since }) => BigInt(since) <= size) ?? this.logs[0];
  }

  /** Whether this name may be introduced: nobody has it, or its key was revoked. */
  isNew(name) {
    return ((this.people.get(name) ?? this.members.get(name))?.key ?? "") === "";
  }

  inConsortium(event) {
    return [event.case === CONSORTIUM, say`${event.type} belongs to the consortium's case`];
  }

  isNoPerson(event) {
    return [!event.author.includes("@"), say`this is the name of a person, not of a member`];
  }

  /** Take in the keys of a party. One key is one party, or one cosignature would count twice. */
  introduce(event, ...rules) {
    const keys = [event.key, event.cosigner, event.log_key].filter((key) => key !== undefined && key !== null);
    need(this.inConsortium(event), [!keys.some((key) => this.keys.has(key)), say`the key belongs to somebody else`], ...rules);
    keys.forEach((key) => this.keys.add(key));
  }

  // application and permit

  async onApplicationSubmitted(event) {
    const { hospitals } = event;
    const kinds = [...this.members.values()].filter((member) => member.admitted).map((member) => member.kind);
    const count = (...wanted) => kinds.filter((kind) => wanted.includes(kind)).length;
    const complete = count("platform") >= 1 && count(...MEDICAL) >= 5 && count("tertiary-hospital") >= 2 && count("company") >= 3;
    need(
      [complete, say`the consortium is not complete: platform, 5 medical (2 tertiary), 3 companies`],
      [event.case === this.case && this.state === "-", say`an application opens a case of its own`],
      [new Set(hospitals).size === hospitals.length, say`a hospital is named twice`],
      ...hospitals.map((hospital) => [this.isMedical(hospital), say`'${hospital}' is no medical institution of the consortium`]),
      ...hospitals.map((hospital) => [this.described.has(hospital), say`'${hospital}' has described no dataset`]),
      ...hospitals.flatMap((hospital) => Object.entries(BOARDS).map(([role, [words, least]]) =>
        [this.sizeOf(role, hospital) >= least, say`'${hospital}' has enrolled no ${word(words)}`])),
    );
    const application = await this.open(event.application, APPLICATION, "application");
    if (application !== null) {
      const named = sameItems([...application.hospitals].sort(), [...hospitals].sort());
      need(
        [application.case === this.case, say`the application document belongs to another case`],
        [application.applicant === event.author, say`the application document names another applicant`],
        [named, say`the application document names other hospitals`],
        [application.smallest_cell === event.smallest_cell, say`the application document has another smallest cell`],
      );
    }
    Object.assign(this, { state: "submitted", submitted: event, application });
    for (const hospital of hospitals) {
      const quorum = Math.floor(this.sizeOf("drb", hospital) / 2) + 1;
      this.sides.set(hospital, new Side(new Board(event.application, quorum, { unanimous: false })));
    }
  }

  onVoteCommitted(event) {
    const board = this.boardOf(event);
    need(
      [event.author !== this.submitted.author, say`nobody reviews their own request`],
      [event.subject === board.subject, say`the vote is about something else than what is under review`],
      [!board.committed.has(event.author), say`this person has voted already`],
      [board.committed.size < board.quorum, say`the quorum has voted; votes are being opened`],
      [!this.votes.has(event.vote), say`the vote repeats a commitment that somebody has made`],
    );
    board.committed.set(event.author, event.vote);
    this.votes.add(event.vote);
  }

  async onVoteOpened(event) {
    const board = this.boardOf(event), asked = this.submitted.smallest_cell;
    const { decision, reason, smallest_cell } = event;
    const vote = hex(await sha256(unhex(event.salt), canonical({ decision, reason, smallest_cell })));
    need(
      [board.committed.size >= board.quorum, say`a vote was opened early: the quorum had not voted yet`],
      [!board.opened.has(event.author), say`the vote was opened before`],
      [board.committed.get(event.author) === vote, say`the opened vote is not one that was committed`],
      [(smallest_cell ?? asked) >= asked, say`a board may raise the smallest cell, never lower it`],
    );
    board.opened.set(event.author, event);
  }

  onIrbDecided(event) {
    const [, side] = this.moving(event);
    need(this.isTheirApplication(event), [side.irb === null, say`the ethics board has decided already`]);
    side.irb = event.decision;
  }

  onPermitAuthorised(event) {
    const [hospital, side] = this.moving(event);
    need(
      this.isTheirApplication(event),
      [side.board.approved, say`the data review board of ${hospital} has not approved`],
      [side.irb === "approved" || side.irb === "exempt", say`the ethics board of ${hospital} has not approved`],
    );
    Object.assign(side, { state: "authorised", steward: event.author });
  }

  isTheirApplication(event) {
    const fits = event.application === this.submitted.application && event.author !== this.submitted.author;
    return [fits, say`it is about another application, or by the applicant`];
  }

  async onPermitIssued(event) {
    const [hospital, side] = this.moving(event);
    const decided = [...side.board.opened.values()].map((vote) => vote.smallest_cell ?? 0);
    need(
      [event.smallest_cell >= Math.max(this.submitted.smallest_cell, ...decided), say`the permit lowers the smallest cell`],
      [event.valid_from <= event.valid_until, say`the permit ends before it begins`],
    );
    const permit = await this.openSigned(event.permit, "permit", PERMIT, this.members.get(hospital).key, PERMIT_V2);
    if (permit !== null) need(...this.aboutPermit(hospital, permit, event));
    Object.assign(side, { state: "in force", issued: event, permit });
  }

  /** That it says what its event says, and covers no more than the application, if that is shown. */
  aboutPermit(hospital, permit, event) {
    const asked = this.application;
    const terms = ["smallest_cell", "hospitals_at_least", "release", "valid_from", "valid_until"];
    const applicant = this.submitted.author;
    const { key, former = [] } = this.people.get(applicant); // the node may not have known the newest yet
    const theirs = permit.applicant === applicant && [key, ...former].includes(permit.applicant_key);
    return [
      [permit.case === this.case && permit.hospital === hospital, say`the permit is for another case or hospital`],
      [permit.application === this.submitted.application, say`the permit is about another application`],
      [theirs, say`the permit is for somebody else`],
      [asked === null || permit.purpose === asked.purpose, say`the permit is for another purpose than the application`],
      [permit.hospitals.includes(hospital), say`the permit does not name its own hospital`],
      [isSubset(permit.hospitals, this.submitted.hospitals), say`the permit names hospitals that were not asked`],
      [asked === null || isSubset(permit.kinds, asked.kinds), say`the permit allows analyses that were not asked for`],
      [asked === null || isCovered(permit.tables, asked.tables), say`the permit opens columns that were not asked for`],
      [isSubset(Object.keys(permit.rules ?? {}), Object.keys(permit.tables)), say`the permit names rules for a table that it does not open`],
      ...terms.map((term) => [permit[term] === event[term], say`permit and event differ in ${term}`]),
    ];
  }

  async onWorkspaceOpened(event) {
    const [hospital, side] = this.moving(event);
    const manifest = await this.open(event.manifest, MANIFEST, "manifest");
    const allowed = (name, columns) => {
      if (side.permit === null) return true;
      if (!has(side.permit.tables, name)) return false;
      const table = side.permit.tables[name];
      return isSubset(columns, [table.person, ...Object.keys(table.columns)]);
    };
    const within = Object.entries(manifest?.tables ?? {}).every(([name, columns]) => allowed(name, columns));
    need(this.isAbout(manifest, hospital), [within, say`the workspace holds columns that the permit does not name`]);
    Object.assign(side, { state: "open", manifest, manifestCommitment: event.manifest });
  }

  isAbout(document, hospital) {
    const { permit } = this.sides.get(hospital).issued;
    const fits = document === null || (document.case === this.case && document.hospital === hospital && document.permit === permit);
    return [fits, say`the document is about another case, hospital or permit`];
  }

  // jobs and releases

  async onJobSubmitted(event) {
    const { hospitals } = event;
    const ready = hospitals.filter((hospital) => this.sides.get(hospital)?.state === "open");
    const enough = ready.every((hospital) => hospitals.length >= this.sides.get(hospital).issued.hospitals_at_least);
    need(
      [!this.jobs.has(event.job), say`the job was submitted before`],
      [![...this.jobs.values()].some((job) => job.isRunning), say`another job of the case is still running`],
      [hospitals.includes(event.lead), say`the lead node takes part in the job`],
      [new Set(hospitals).size === hospitals.length, say`a hospital is named twice`],
      [sameItems(ready, hospitals), say`a hospital of the job has no permit in force with a workspace`],
      [enough, say`a permit asks for more hospitals to take part`],
    );
    const job = await this.openSigned(event.document, "job", JOB, this.people.get(event.author).key);
    if (job !== null) {
      const named = (hospital) => has(job.permits, hospital) && job.permits[hospital] === this.sides.get(hospital).issued.permit;
      const permits = Object.keys(job.permits).length === hospitals.length && hospitals.every(named);
      need(
        [job.job === event.job && job.case === this.case, say`the job document is another job's`],
        [job.applicant === event.author && job.lead === event.lead, say`job and event differ in applicant or lead`],
        [permits, say`the job does not name the permits of its hospitals`],
      );
    }
    this.jobs.set(event.job, new Job(job, hospitals));
  }

  onOutputSealed(event) {
    const [hospital, { permit, issued }] = this.moving(event), [job, output] = this.outputOf(event);
    const foreseen = permit === null || isSubset([...job.at.keys()], permit.hospitals);
    const wide = job.document === null || job.document.smallest_cell >= issued.smallest_cell;
    const covered = permit === null || job.document === null || job.document.questions.every((question) => mayAsk(question, permit));
    const one = job.outputs.every((other) => other.digest === "" || other.digest === event.output);
    need(
      job.notFailed(),
      [one, say`the hospitals of one job seal one output`],
      [foreseen, say`the permit of ${hospital} does not foresee all hospitals of the job`],
      [wide, say`the permit of ${hospital} asks for larger cells than the job`],
      [covered, say`the permit of ${hospital} does not cover a question of the job`],
    );
    const board = new Board(event.output, 2, { unanimous: true });
    Object.assign(output, { state: "under review", digest: event.output, findings: event.findings, board });
  }

  onJobFailed(event) {
    const [, output] = this.outputOf(event);
    output.state = "failed";
  }

  onReleased(event) {
    const [, side] = this.moving(event), [job, output] = this.outputOf(event);
    const { board } = output, { reviewers } = event;
    const byPeople = board.approved && sameItems(reviewers, [...board.opened.keys()].sort(byCodePoint));
    const untouched = reviewers.length === 0 && board.committed.size === 0; // once one person looks, two decide
    const automatic = side.issued.release === "automatic-if-clear" && output.findings === "clear" && untouched;
    const everywhere = job.outputs.every((other) => other.digest === event.output);
    need(
      job.notFailed(),
      [event.output === output.digest, say`a release names what was reviewed`],
      [byPeople || automatic, say`two people of the hospital have not both approved this output`],
      [everywhere, say`not every hospital of the job has sealed this output`],
    );
    output.state = "released";
    side.released.set(event.output, reviewers);
  }

  // the end

  onStudyDone(event) {
    need(this.canMoveOn(event));
    this.state = CASE_MOVES[this.state][event.type];
    for (const side of this.sides.values()) side.state = AT_THE_END[side.state] ?? side.state;
  }

  onApplicationWithdrawn(event) {
    this.onStudyDone(event);
  }

  canMoveOn(event) {
    const possible = event.case === this.case && isPossible(CASE_MOVES, this.state, event.type);
    return [possible, say`the application is '${word(this.state)}'`];
  }

  onPermitEnded(event) {
    const [, side] = this.moving(event);
    const revoking = this.people.has(event.author);
    need([revoking === (event.reason === "revoked"), say`a steward revokes; a node ends a permit that expired`]);
    Object.assign(side, { state: "ended", expired: event.reason === "expired" });
  }

  onDeletionPending(event) {
    const [, side] = this.moving(event);
    need(
      [event.until >= event.at, say`the deletion would be due before it is pending`],
      [Date.parse(event.until) - Date.parse(event.at) <= LONGEST_GRACE, say`a deletion waits at most 31 days`],
    );
    Object.assign(side, { state: "deletion pending", until: event.until });
  }

  /** The steward asks, then the coordinating body agrees: neither side reverses a deletion alone. */
  onReversalAsked(event) {
    const [, side] = this.moving(event);
    const inTime = !side.expired && isBeforeTheEndOf(side.issued.valid_until, event.at);
    need(
      [isPossible(CASE_MOVES, this.state, "ReversalAgreed"), say`the application is '${word(this.state)}'`],
      [event.at <= side.until, say`the time in which the deletion could be reversed is over`],
      [side.manifestCommitment !== null, say`there is no workspace to open again`],
      [!side.shareDestroyed, say`the coordinating body's key share is destroyed already`],
      [inTime, say`the permit is over by its date`],
    );
    side.state = PERMIT_MOVES[side.state][event.type];
  }

  onReversalAgreed(event) {
    this.onReversalAsked(event);
    this.state = CASE_MOVES[this.state][event.type];
  }

  async onShareCertified(event) {
    this.onKeyShareDestroyed(event);
    const [hospital] = this.sideOf(event), key = this.members.get(event.author).key;
    const certificate = await this.openSigned(event.certificate, "share-certificate", SHARE_CERTIFICATE, key);
    const gone = certificate === null || certificate.failures === certificate.attempts;
    need(this.isAbout(certificate, hospital), [gone, say`after the destruction the key share could still be used`]);
  }

  onKeyShareDestroyed(event) {
    const [, side] = this.moving(event);
    need([!side.shareDestroyed, say`the coordinating body's key share is destroyed already`]);
    side.shareDestroyed = true;
  }

  async onWorkspaceDestroyed(event) {
    const [hospital, side] = this.moving(event);
    const certificate = await this.certificate(event.certificate, this.members.get(hospital).key);
    if (certificate !== null) need(...this.aboutCertificate(hospital, side, certificate));
    side.state = "destroyed";
  }

  /** That nothing was left of the workspace that was opened. */
  aboutCertificate(hospital, side, certificate) {
    const basis = side.permit?.legal_basis ?? certificate.legal_basis;
    const purged = certificate.purged ?? [{ what: "workspace", residual: certificate.residual }];
    const sameWorkspace = certificate.manifest === undefined || certificate.manifest === side.manifestCommitment;
    const whole = ["objects", "bytes"].every((name) => certificate[name] >= (side.manifest?.[name] ?? 0));
    const released = [...side.released.keys()];
    const listed = isSubset(released, certificate.released) && isSubset(certificate.released, released);
    return [
      this.isAbout(certificate, hospital),
      [certificate.legal_basis === basis, say`the certificate names another legal basis than the permit`],
      [certificate.failures === certificate.attempts, say`after the destruction the workspace could still be opened`],
      [purged.every((purge) => purge.residual === 0), say`files were left after the destruction`],
      [purged.some((purge) => purge.what === "workspace"), say`the certificate does not say that the workspace was removed`],
      [sameWorkspace, say`the certificate is about another workspace`],
      [whole, say`the certificate covers less than the workspace held`],
      [listed, say`the certificate lists other releases than the log`],
    ];
  }

  /** A certificate of deletion of either version. */
  async certificate(commitment, key) {
    const body = this.isErased(commitment, "certificate") ? null : await this.opened(commitment, "certificate");
    const isSecond = record(SIGNED)(body) && has(body.body, "version");
    return this.openSigned(commitment, "certificate", isSecond ? CERTIFICATE_V2 : CERTIFICATE, key);
  }

  onCaseClosed(event) {
    const isGone = (side) => side.state === "lapsed" || (side.state === "destroyed" && side.shareDestroyed);
    const left = [...this.sides].filter(([, side]) => !isGone(side)).map(([hospital]) => hospital);
    need(
      this.canMoveOn(event),
      [left.length === 0, say`the workspace and both keys are not destroyed at ${left.join(", ")}`],
      [event.events === this.countOf(this.case), say`the closing event counts other events of the case than the bundle shows`],
      [event.consortium === this.countOf(CONSORTIUM), say`the closing event counts other consortium events than the bundle shows`],
    );
    this.state = "closed";
  }

  // step 6: documents

  /** The document behind a commitment; null if it was erased and that is accepted. */
  async open(commitment, fields, kind) {
    return this.isErased(commitment, kind) ? null : shaped(await this.opened(commitment, kind), fields, kind);
  }

  /** The signed document; `later` are the fields of its second version. */
  async openSigned(commitment, kind, fields, key, later = null) {
    if (this.isErased(commitment, kind)) return null;
    const value = await this.opened(commitment, kind);
    await checkSigned(value, kind);
    need([value.key === key, say`the ${word(kind)} is not signed with the key that the log knows`]);
    const isSecond = later !== null && isObject(value.body) && has(value.body, "version");
    return shaped(value.body, isSecond ? later : fields, kind);
  }

  isErased(commitment, kind) {
    const there = has(this.documents, commitment);
    need([there || this.mayBeErased, say`the ${word(kind)} behind its commitment is not in the bundle; with --erased the rest is checked`]);
    if (!there) this.erased.set(commitment, kind);
    return !there;
  }

  async opened(commitment, kind) {
    const { salt, body } = this.documents[commitment];
    const committed = hex(await sha256(unhex(salt), canonical(body))) === commitment;
    need([committed, say`the ${word(kind)} is not the one that was committed to`]);
    this.used.add(commitment);
    return body;
  }
}
