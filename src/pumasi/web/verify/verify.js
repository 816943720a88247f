"use strict";
/* Check a case bundle in the browser: the same steps as src/pumasi/ledger/verify.py, in the same order, with the same sentences.

    1. Bytes       bytes.js, signatures.js    5. History      history.js
    2. Shapes      shapes.js                  6. Documents    documents.js, the end of history.js
    3. Tree        tree.js                    7. The verdict  here; page.js shows it
    4. Notes       notes.js

   No module syntax: a browser loads modules from a web server only, and this page must run from a folder on disk too. So these files are
   plain scripts that share their names, in the order in which index.html lists them. */

/** Steps 1 to 6; `Broken` with the reasons when something does not hold. */
async function verify(data, { mayBeOpen = false, mayBeErased = false } = {}) {
  const bundle = readCanonical(data);
  const known = record(BUNDLE)(bundle) || record(BUNDLE_V2)(bundle);
  need([known, say`this is not a Pumasi case bundle of version 1 or 2, or it has unknown fields`]);
  const head = readCheckpoint(bundle.checkpoint);
  const entries = await readEntries(bundle.entries, head);
  const history = new CaseHistory(bundle.case, bundle.documents, { mayBeErased });
  for (const entry of entries) {
    try {
      await history.follow(entry);
    } catch (error) {
      if (!(error instanceof Broken)) throw error;
      throw new Broken(...error.reasons.map((reason) => say`entry ${entry.index} (${entry.event.type}): ${reason}`));
    }
  }
  const last = entries.at(-1).index, allUsed = history.used.size === Object.keys(bundle.documents).length;
  need(
    [history.submitted !== null, say`the bundle does not show the case's application`],
    [allUsed, say`the bundle holds a document that no event of the case commits to`],
    [mayBeOpen || history.state === "closed", say`the case is not closed: what is shown holds, but is complete only up to entry ${last};
      was its end left out? With --open a case that still runs is accepted`],
  );
  await checkHeads(bundle.heads, history, head);
  const { origin, key } = history.logAt(head.size), log = await noteKey(utf8(origin), LOG, bytesOf(key));
  const witnesses = [...history.members].filter(([, member]) => member.admitted && member.cosigner !== null);
  const members = await Promise.all(witnesses.map(async ([member, { cosigner }]) => ({ member, ...(await cosignerKey(origin, member, cosigner)) })));
  const outside = await readOutside(has(bundle, "witnesses") ? bundle.witnesses : [], history);
  const signed = await checkCheckpoint(head, log, [...members, ...outside]);
  need([outside.every((key) => signed.has(key.whole)), say`the bundle names a witness that has not cosigned the head`]);
  return { history, head, entries, log, cosigners: [...members.filter((key) => signed.has(key.whole)), ...outside] };
}

/** The witnesses that a bundle names beside the members: no key of theirs is one that the log knows. */
async function readOutside(texts, history) {
  const found = [];
  for (const text of texts) {
    found.push({ member: "", ...(await readVkey(text, COSIGNER, found)) });
  }
  const known = new Set(Array.from(history.keys, (key) => hex(bytesOf(key))));
  const strange = found.every(({ publicKey }) => !known.has(hex(publicKey)));
  need([strange, say`a witness outside the membership has a key of somebody whom the log knows`]);
  return found;
}

function cosignerKey(origin, member, key) {
  return noteKey(utf8(`${origin}/${quoted(member)}`), COSIGNER, bytesOf(key));
}

/** RFC 3986: everything but letters, digits and -._~ percent-encoded. */
function quoted(name) {
  return encodeURIComponent(name).replace(/[!'()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** Every event has a known shape and its place in the log; all that fail are told. */
async function readEntries(items, head) {
  const read = await Promise.all(items.map((item) => readEntry(item, head)));
  const entries = [], reasons = [];
  for (const [at, { entry, broken }] of read.entries()) {
    const ascending = entries.length === 0 || items[at].index > entries.at(-1).index;
    const found = broken ?? (ascending ? [] : [say`it is not in ascending order`]);
    if (found.length === 0) entries.push(entry);
    reasons.push(...found.map((reason) => say`entry ${items[at].index}: ${reason}`));
  }
  if (reasons.length > 0) throw new Broken(...reasons);
  return entries;
}

async function readEntry({ index, event: signed, proof: steps }, head) {
  try {
    const type = record(SIGNED)(signed) && has(signed.body, "type") ? signed.body.type : null;
    const formed = typeof type === "string" && has(EVENTS, type) && record({ ...COMMON, ...EVENTS[type] })(signed.body);
    need([formed, say`it has the form of no known event`]);
    const data = canonical(signed), proof = steps.map((step) => unbase64(step, 32));
    const there = await included(BigInt(index), head.size, await leafHash(data), proof, head.root);
    need([there, say`it does not stand in the log at this place: it was changed or moved`]);
    return { entry: { index, signed, event: signed.body, digest: hex(await sha256(data)) } };
  } catch (error) {
    if (!(error instanceof Broken)) throw error;
    return { broken: error.reasons };
  }
}

async function checkHeads(heads, history, head) {
  const issued = [...history.sides.values()].filter((side) => side.issued !== null).map((side) => side.issued.seen);
  const inOrder = [...issued, ...history.handed].sort((one, two) => one.size - two.size || byCodePoint(one.root, two.root));
  const distinct = new Set(inOrder.map(({ size, root }) => `${size} ${root}`));
  const shown = heads.map(({ size, root }) => `${size} ${root}`);
  need([sameItems(shown, [...distinct]), history.handed.length > 0
    ? say`the heads shown are not those that the permits name, and the handovers`
    : say`the heads shown are not those that the permits name`]);
  for (const { size, root, proof } of heads) {
    const steps = proof.map((step) => unbase64(step, 32));
    const part = await consistent(BigInt(size), head.size, steps, unhex(root), head.root);
    need([part, say`the log was rewritten: the head of size ${size} that a hospital saw is not part of it`]);
  }
}

/** Why the reader's own policy does not accept the checkpoint; empty means it does.

    A key that the policy pins stands for those that replaced it in the log: a cosigner's by rotation, the log's by rotation or by a
    handover whose signatures reach the policy's own quorum (those who are no members cannot sign one: their cosignature counts there). */
async function policyRefusals(policy, { history, head, cosigners }) {
  const logs = history.logs.filter(({ since }) => BigInt(since) <= head.size);
  const keys = await Promise.all(logs.map(({ origin, key }) => noteKey(utf8(origin), LOG, bytesOf(key))));
  const last = keys.findLastIndex((key) => policy.logs.some((pin) => pin.whole === key.whole)), pinned = last !== -1;
  const signed = await stoodFor(history, cosigners.map(({ member }) => member).filter((member) => member !== ""));
  const outside = cosigners.filter(({ member }) => member === "").map((key) => key.whole);
  const reaches = (names) => isReached(policy, policy.quorum[0], new Set([...names, ...outside]));
  const wanted = await Promise.all(logs.slice(Math.max(last, 0) + 1).filter(({ by }) => by.length > 0).map(({ by }) => stoodFor(history, by)));
  return [
    ...(pinned ? [] : [say`the log's key is not the one that the policy pins`]),
    ...(reaches(signed) ? [] : [say`the cosignatures do not reach the quorum of the policy`]),
    ...wanted.filter((by) => !reaches(by)).map(() => say`the signatures on a handover of the log do not reach the quorum of the policy`),
  ];
}

/** Every key under which a policy may have named these members: the present one, and those that it replaced, under each of the log's names. */
async function stoodFor(history, members) {
  const known = members.map((name) => [name, history.members.get(name)]).filter(([, party]) => party?.cosigner);
  const keys = known.flatMap(([name, { cosigned = [], cosigner }]) => [...cosigned, cosigner].flatMap((key) =>
    history.logs.map(({ origin }) => cosignerKey(origin, name, key))));
  return (await Promise.all(keys)).map((key) => key.whole);
}

/* --- step 7: the verdict --- */

/** What is proven and what is not, in plain sentences. */
async function report(verified, { pinned }) {
  const { history, head, entries } = verified;
  const cosigners = verified.cosigners.filter(({ member }) => member !== "");
  const outside = verified.cosigners.filter(({ member }) => member === "").map(({ name }) => new TextDecoder().decode(name)).join(", ");
  const closed = history.state === "closed", permits = [...history.sides.values()].some((side) => side.issued !== null);
  return {
    title: say`case ${history.case} of the log ${head.origin}`,
    pinned, closed, witnessed: cosigners.length > 0, whole: history.erased.size === 0,
    proven: [
      say`Each of the ${entries.length} events shown is signed with a key that the log introduced before, by somebody whose role
        allows it, and stands in the log of ${head.size} entries whose head the log has signed.
        Nothing shown was changed or reordered.`,
      closed
        ? say`The case is complete: the closing event counts ${history.countOf(history.case) - 1} events of the case
          and ${history.countOf(CONSORTIUM)} of the consortium, and all are here.`
        : say`The case is not closed: it is complete only up to entry ${entries.at(-1).index}. Until a closing event counts them,
          the latest events of an author could be left out unseen.`,
    ],
    hospitals: [...history.sides].map(([name, side]) => ({ name, sentences: [...ofHospital(side)] })),
    ofLog: [
      ...(permits ? [say`The heads of the log that the hospitals saw when they issued their permits are part of this log.`] : []),
      ...history.logs.slice(1).map(ofLog),
      cosignatures(cosigners.map((key) => key.member)),
      ...(outside !== "" ? [say`Outside the membership the head is cosigned by ${outside}; who they are only a policy says.`] : []),
      ...(pinned ? [say`The log's key is the one that the policy pins, and the cosignatures reach its quorum.`] : []),
    ],
    notProven: [
      ...[...history.erased].map(leftOut),
      say`That no copy of data, keys or results exists anywhere: no cryptography proves that.`,
      say`Who the people and institutions behind the keys are; compare fingerprints with them over another channel.`,
      say`That clocks were right: days and instants are what their authors wrote.`,
      say`That a result is true or harmless: the log holds its digest and who let it out, not what it says.`,
      say`What happened outside the log.`,
      ...(pinned ? [] : [say`That the keys are the right ones: without a policy they are the bundle's own.`]),
    ],
    fingerprints: pinned ? [] : await fingerprints(history),
  };
}

function leftOut([commitment, kind]) {
  const begins = `${commitment.slice(0, 16)}…`;
  return say`What the ${word(kind)} ${begins} said: it was erased or left out, and what depends on it is not checked.`;
}

/** How the log's key changed. */
function ofLog({ since, origin, by }) {
  if (by.length === 0) return say`From entry ${since - 1} on the log signs with a new key; the one before consented.`;
  return say`After entry ${since - 2} the log was handed over to the name ${origin} and a new key, by ${by.length} of those
    that cosigned it: ${by.join(", ")}.`;
}

function cosignatures(names) {
  if (names.length === 0) return say`0 cosignatures on the head`;
  const list = names.join(", ");
  return names.length === 1 ? say`1 cosignature on the head: ${list}` : say`${names.length} cosignatures on the head: ${list}`;
}

function* ofHospital({ board, state, irb, steward, issued, permit, released, shareDestroyed, until }) {
  if (issued === null) {
    yield say`no permit was issued (${word(state)}).`;
    return;
  }
  yield say`the data review board approved (${board.approvals} of ${board.committed.size} votes, committed before any was opened),
    the ethics board said '${word(irb)}', ${steward} authorised, then the hospital's own key signed the permit
    (${issued.valid_from} to ${issued.valid_until}, smallest cell ${issued.smallest_cell}).`;
  for (const [table, rules] of Object.entries(permit?.rules ?? {})) {
    yield say`shows the table '${table}' as the rules '${rules.name}' treat it, or less of it (SHA-256 ${rules.sha256.slice(0, 16)}…).`;
  }
  for (const [digest, reviewers] of released) {
    const output = `${digest.slice(0, 16)}…`;
    const people = reviewers.length > 0 ? reviewers.reduce((all, person) => say`${all} and ${person}`) : null;
    yield people === null
      ? say`released the output ${output} automatically, as its permit allows when all checks are clear.`
      : say`released the output ${output} after ${people} had approved it.`;
  }
  if (["deletion pending", "reversal asked"].includes(state)) {
    yield say`the permit is '${word(state)}': its workspace is unusable, and to be destroyed after ${until}.`;
  } else if (state !== "destroyed") {
    yield say`the permit is '${word(state)}'; its workspace is not destroyed yet.`;
  } else if (shareDestroyed) {
    yield say`declared with its key that the workspace and its key share are destroyed and cannot be opened;
      so did the coordinating body with its share.`;
  } else {
    yield say`declared with its key that the workspace and its key share are destroyed and cannot be opened;
      the coordinating body has not signed yet: ONE-SIDED.`;
  }
}

function fingerprints({ logs, coordinator, members, people, sides, submitted }) {
  const keys = new Map([[say`the log`, logs.at(-1).key]]);
  for (const name of [coordinator, ...sides.keys()]) keys.set(name, members.get(name).key);
  for (const [name, member] of members) {
    if (member.admitted && member.cosigner !== null) keys.set(say`${name} (cosigner)`, member.cosigner);
  }
  keys.set(submitted.author, people.get(submitted.author).key);
  return Promise.all(Array.from(keys, async ([name, key]) => ({ name, fingerprint: await fingerprint(key) })));
}
