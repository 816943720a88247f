"use strict";
/* Step 2: shapes. Every object has exactly the fields listed here. A field that this file does not know is refused, not skipped.

   A shape is a function that says whether a value has it. Objects come from JSON, so a field may be called `constructor`: what an object
   has is asked with `has`, never with a dot. */

function has(object, name) {
  return Object.hasOwn(object, name);
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(pattern) {
  const whole = new RegExp(`^(?:${pattern})$`, "u");
  return (value) => typeof value === "string" && whole.test(value);
}

/* What is not printable, and every space but the plain one. Unicode grows: a browser may know newer letters than Python. */
const HIDDEN = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu;

/** One printable line without spaces at its ends. */
function line(pattern) {
  const shape = text(pattern);
  return (value) => shape(value) && value.search(HIDDEN) === -1 && !/^ | $/.test(value);
}

/** A line in Unicode normal form C: what looks the same is the same. */
function properName(pattern) {
  const shape = line(pattern);
  return (value) => shape(value) && value.normalize("NFC") === value;
}

/** A day that the calendar knows, and a time of it when there is one. */
function moment(pattern) {
  const shape = text(pattern);
  return (value) => {
    if (!shape(value)) return false;
    const [year, month, day, hour = 0, minute = 0, second = 0] = value.match(/[0-9]+/g).map(Number);
    const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
    const days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1] ?? 0;
    return year >= 1 && day >= 1 && day <= days && hour < 24 && minute < 60 && second < 60;
  };
}

function oneOf(...choices) {
  return (value) => choices.includes(value);
}

function number(least) {
  return (value) => Number.isInteger(value) && value >= least;
}

function optional(shape) {
  return (value) => value === null || shape(value);
}

function either(one, other) {
  return (value) => one(value) || other(value);
}

function many(shape, least = 0) {
  return (value) => Array.isArray(value) && value.length >= least && value.every((item) => shape(item));
}

function mapping(key, item, least = 0) {
  const holds = ([name, value]) => key(name) && item(value);
  return (value) => isObject(value) && Object.keys(value).length >= least && Object.entries(value).every(holds);
}

function record(fields) {
  const names = Object.keys(fields);
  const holds = (value) => names.every((name) => has(value, name) && fields[name](value[name]));
  return (value) => isObject(value) && Object.keys(value).length === names.length && holds(value);
}

const ANYTHING = () => true;
const TEXT = text("[^]*");

const CONSORTIUM = "consortium";
const MEMBER = properName(String.raw`[^@\|\/\\\x00-\x1f]{1,64}`);
const PERSON = properName(String.raw`[a-z0-9\-]{1,32}@[^@\|\/\\\x00-\x1f]{1,64}`);
const LINE = line("[^]{1,300}"), TREATMENT = text("[^]{1,20000}");
const ORIGIN = text(String.raw`[A-Za-z0-9._:\/\-]{1,200}`);
const VKEY = text(String.raw`[A-Za-z0-9._~:\/@%\-]{1,200}\+[0-9a-f]{8}\+[A-Za-z0-9+\/]{44}`); // of a witness outside the membership
const SIGNATURE = text("[A-Za-z0-9+/]{85}[AQgw]==");
const ID = text("[0-9a-f]{32}"), HASH = text("[0-9a-f]{64}"), KEY = text("[A-Za-z0-9+\\/]{42}[AEIMQUYcgkosw048]=");
const DAY = moment("[0-9]{4}(?:-[0-9]{2}){2}"), INSTANT = moment("[0-9]{4}(?:-[0-9]{2}){2}T[0-9]{2}(?::[0-9]{2}){2}Z");
const COUNT = number(0), ONE_UP = number(1), FLAG = (value) => typeof value === "boolean";
const MEDICAL = ["hospital", "tertiary-hospital"];
const MEMBER_KIND = oneOf("coordinator", "platform", ...MEDICAL, "company", "public-agency", "research-institute");
const ROLE = oneOf("researcher", "drb", "irb", "steward", "checker");
const PURPOSE = oneOf(
  "scientific-research", "statistics", "public-health", "policy-making", "education", "ai-development", "ai-validation",
);
const LEGAL_BASIS = oneOf("pipa-28-2", "pipa-consent", "bioethics-act-16", "ehds-53");
const RELEASE_RULE = oneOf("two-people", "automatic-if-clear"), ANALYSIS = oneOf(
  "count", "describe", "table", "table1", "histogram", "quantiles", "correlation", "ttest", "anova",
  "glm", "cox", "kaplan_meier", "logrank", "roc", "calibration", "brier", "meta",
);
const COLUMN_CLASS = oneOf("identifier", "quasi", "sensitive", "plain"), KEEP = optional(oneOf("year"));
const FAILURE = oneOf("permit", "missing-hospital", "restarted", "disagreement", "tampered", "sandbox", "source", "fault");

const BUNDLE = {
  format: oneOf("pumasi bundle v1"), case: ID, checkpoint: TEXT,
  entries: many(record({ index: COUNT, event: ANYTHING, proof: many(TEXT) }), 1),
  heads: many(record({ size: ONE_UP, root: HASH, proof: many(TEXT) })),
  documents: mapping(HASH, record({ salt: HASH, body: ANYTHING })),
};

const BUNDLE_V2 = { ...BUNDLE, format: oneOf("pumasi bundle v2"), witnesses: many(VKEY, 1) };

const SIGNED = { body: isObject, key: TEXT, sig: TEXT };
const COMMON = {
  type: ANYTHING, case: text("consortium|[0-9a-f]{32}"), author: (value) => MEMBER(value) || PERSON(value),
  seq: COUNT, prev: optional(HASH), at: INSTANT,
};
const EVENTS = {
  LogFounded: { origin: LINE, log_key: KEY, key: KEY, box: KEY },
  MemberApplied: { kind: MEMBER_KIND, key: KEY, box: KEY, cosigner: optional(KEY) },
  MemberAdmitted: { member: MEMBER },
  PersonEnrolled: { person: PERSON, key: KEY, box: KEY, roles: many(ROLE, 1) },
  DatasetDescribed: { dataset: HASH },
  ApplicationSubmitted: { application: HASH, hospitals: many(MEMBER, 1), smallest_cell: ONE_UP },
  ApplicationWithdrawn: {},
  VoteCommitted: { board: oneOf("drb", "airlock"), job: optional(ID), subject: HASH, vote: HASH },
  VoteOpened: {
    board: oneOf("drb", "airlock"), job: optional(ID), salt: HASH, decision: oneOf("approve", "reject"),
    smallest_cell: optional(ONE_UP), reason: HASH,
  },
  IrbDecided: { application: HASH, decision: oneOf("approved", "exempt", "rejected"), reason: HASH },
  PermitAuthorised: { application: HASH },
  PermitIssued: {
    permit: HASH, smallest_cell: ONE_UP, hospitals_at_least: ONE_UP, release: RELEASE_RULE,
    valid_from: DAY, valid_until: DAY, seen: record({ size: ONE_UP, root: HASH }),
  },
  WorkspaceOpened: { manifest: HASH },
  JobSubmitted: { job: ID, document: HASH, hospitals: many(MEMBER, 1), lead: MEMBER },
  OutputSealed: { job: ID, output: HASH, findings: oneOf("clear", "flagged") },
  JobFailed: { job: ID, reason: FAILURE, about: many(MEMBER) },
  Released: { job: ID, output: HASH, reviewers: many(PERSON) },
  StudyDone: {},
  PermitEnded: { hospital: MEMBER, reason: oneOf("done", "expired", "revoked", "source", "lost") },
  WorkspaceDestroyed: { certificate: HASH },
  KeyShareDestroyed: { hospital: MEMBER },
  CaseClosed: { events: ONE_UP, consortium: ONE_UP },
  DeletionPending: { until: INSTANT },
  ReversalAsked: {},
  ReversalAgreed: { hospital: MEMBER },
  ShareCertified: { hospital: MEMBER, certificate: HASH },
  KeyRotated: { key: KEY, box: KEY, cosigner: optional(KEY), proof: SIGNATURE },
  KeyRevoked: { subject: (value) => MEMBER(value) || PERSON(value) },
  LogHandedOver: {
    size: ONE_UP, root: HASH, replaces: KEY, origin: ORIGIN, log_key: KEY, key: KEY, box: KEY,
    place: text(String.raw`https:\/\/[A-Za-z0-9.:\[\]\-]{1,253}`), certificate: HASH,
    signatures: many(record({ member: MEMBER, key: KEY, signature: SIGNATURE }), 1),
  },
  LogKeyRotated: { log_key: KEY, consent: SIGNATURE, proof: SIGNATURE },
};

const COLUMN = { is: COLUMN_CLASS, levels: optional(many(LINE)) };
// Treated as a rule file of de-identification could say; earlier versions know the year of a date alone, and the value as it is.
const TREATED = { treat: TREATMENT, kind: oneOf("number", "text", "date", "boolean") };
const APPLICATION = {
  title: LINE, purpose: PURPOSE, smallest_cell: ONE_UP, applicant: PERSON, case: ID,
  tables: mapping(LINE, record({
    person: LINE, columns: mapping(LINE, either(record({ ...COLUMN, keep: KEEP }), record({ ...COLUMN, ...TREATED }))),
  })),
  kinds: many(ANALYSIS), hospitals: many(MEMBER, 1), datasets: mapping(MEMBER, HASH),
};
const AGREED_COLUMN = {
  is: oneOf("quasi", "sensitive", "plain"), kind: oneOf("number", "text", "date", "boolean"),
  levels: many(LINE), two_valued: FLAG,
};
const PERMIT = {
  case: ID, hospital: MEMBER, applicant: PERSON, applicant_key: KEY, purpose: PURPOSE, legal_basis: LEGAL_BASIS,
  application: HASH,
  tables: mapping(LINE, record({
    person: LINE,
    columns: mapping(LINE, either(record({ ...AGREED_COLUMN, keep: KEEP }), record({ ...AGREED_COLUMN, treat: TREATMENT }))),
  })),
  kinds: many(ANALYSIS), smallest_cell: ONE_UP, hospitals: many(MEMBER), hospitals_at_least: ONE_UP,
  release: RELEASE_RULE, valid_from: DAY, valid_until: DAY,
};
// The second version names the rule files that its hospital's tables are treated by.
const PERMIT_V2 = {
  ...PERMIT,
  version: (value) => value === 2, rules: mapping(LINE, record({ name: LINE, sha256: HASH }), 1),
};
const MANIFEST = {
  case: ID, hospital: MEMBER, permit: HASH, tables: mapping(LINE, many(LINE)),
  objects: ONE_UP, bytes: ONE_UP, ciphertext: HASH,
};
const JOB = {
  job: ID, case: ID, applicant: PERSON, applicant_box: KEY, permits: mapping(MEMBER, HASH, 1), lead: MEMBER,
  smallest_cell: ONE_UP, code: HASH, questions: many(mapping(TEXT, ANYTHING), 1),
};
const COLUMNS = many(TEXT, 1), FACTOR = { column: TEXT };
const PRODUCT = {
  name: ANYTHING,
  factors: many((value) => record(FACTOR)(value) || record({ ...FACTOR, level: ANYTHING })(value)),
};
const DESIGN = { outcome: TEXT, columns: many(record(PRODUCT), 1) };
// How the first version asked; since then a question says which columns it `reads`, and gets no others.
const QUESTIONS = {
  table: { name: ANYTHING, kind: ANALYSIS, table: TEXT, by: COLUMNS },
  describe: { name: ANYTHING, kind: ANALYSIS, table: TEXT, columns: COLUMNS },
  glm: { name: ANYTHING, kind: ANALYSIS, table: TEXT, family: ANYTHING, formula: ANYTHING, design: record(DESIGN) },
};
const CERTIFICATE = {
  case: ID, hospital: MEMBER, permit: HASH, legal_basis: LEGAL_BASIS, algorithm: LINE, method: LINE, objects: COUNT,
  bytes: COUNT, attempts: ONE_UP, failures: COUNT, residual: COUNT, released: many(HASH), not_covered: many(LINE),
  at: INSTANT,
};
const BACKUPS = many(record({ what: LINE, until: DAY }));
const CERTIFICATE_V2 = {
  version: (value) => value === 2, case: ID, hospital: MEMBER, permit: HASH, legal_basis: LEGAL_BASIS, manifest: optional(HASH),
  objects: COUNT, bytes: COUNT, algorithm: LINE, method: LINE, attempts: ONE_UP, failures: COUNT,
  purged: many(record({ what: oneOf("workspace", "scratch", "held-outputs"), removed: COUNT, residual: COUNT }), 1),
  backups: BACKUPS, released: many(HASH), not_covered: many(LINE), unprovable: LINE, at: INSTANT,
};
const SHARE_CERTIFICATE = {
  case: ID, hospital: MEMBER, permit: HASH, method: LINE, attempts: ONE_UP, failures: COUNT, backups: BACKUPS, at: INSTANT,
};
