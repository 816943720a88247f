"use strict";
/* Step 4: notes (C2SP). The signed head (tlog-checkpoint), its cosignatures (tlog-cosignature), the reader's conditions (tlog-policy). */

const LOG = 1, COSIGNER = 4;

/** Whose signatures on notes count: name, type of signature, raw public key. `whole` tells two keys apart. */
async function noteKey(name, kind, publicKey) {
  const id = (await sha256(name, utf8("\n"), Uint8Array.of(kind), publicKey)).slice(0, 4);
  return { name, kind, publicKey, id, whole: `${hex(name)} ${kind} ${hex(publicKey)}` };
}

/** Cut at the last place where the separator stands. */
function cutAtLast(text, separator) {
  const at = text.lastIndexOf(separator);
  return at === -1 ? ["", text] : [text.slice(0, at), text.slice(at + separator.length)];
}

function readCheckpoint(note) {
  const [body, below] = cutAtLast(note, "\n\n");
  const match = /^([^\x00-\x1f]+)\n(0|[1-9][0-9]{0,18})\n([^\x00-\x1f]+)$/u.exec(body);
  const found = below.matchAll(/— ([^\x00-\x1f +]+) ([^\x00-\x1f ]+)\n/gu);
  const lines = Array.from(found, ([whole, name, value]) => ({ whole, name, value }));
  const formed = match !== null && lines.map(({ whole }) => whole).join("") === below;
  need([formed, say`the checkpoint does not have the form of a signed C2SP tlog-checkpoint`]);
  const signatures = lines.map(({ name, value }) => ({ name, value: unbase64(value) }));
  return { body: `${body}\n`, origin: match[1], size: BigInt(match[2]), root: unbase64(match[3], 32), lines: signatures };
}

/** The keys of those that signed the head. A line by an unknown key, a failing one and a second one by a key are refused. */
async function checkCheckpoint(head, log, members) {
  const signed = new Map();
  for (const { name, value } of head.lines) {
    const key = [log, ...members].find((known) => same(known.name, utf8(name)) && same(known.id, value.subarray(0, 4)));
    const once = key !== undefined && !signed.has(hex(key.publicKey));
    need([once, say`the checkpoint has a signature line of '${name}' that is nobody's whom the log admitted, or a second one`]);
    let [message, signature] = [utf8(head.body), value.subarray(4)];
    if (key.kind === COSIGNER) { // tlog-cosignature: eight bytes of time come first
      const time = BigInt(`0x0${hex(signature.subarray(0, 8))}`);
      [message, signature] = [utf8(`cosignature/v1\ntime ${time}\n${head.body}`), signature.subarray(8)];
      need([time < 2n ** 63n, say`the cosignature of '${name}' has an impossible time`]);
    }
    need([await signatureHolds(key.publicKey, signature, message), say`the signature of '${name}' on the checkpoint does not hold`]);
    signed.set(hex(key.publicKey), key);
  }
  const byLog = signed.has(hex(log.publicKey)) && same(utf8(head.origin), log.name);
  need([byLog, say`the checkpoint is not signed with the key of the log`]);
  return new Set(Array.from(signed.values(), (key) => key.whole));
}

/* tlog-policy: the logs that count, the witnesses by name, the groups (threshold, members), the quorum. A policy is read byte by byte,
   because a name in it need not be UTF-8: each byte is one character here. */

async function readPolicy(data) {
  const policy = { logs: [], witnesses: new Map(), groups: new Map(), quorum: [] };
  const lines = Array.from(data, (byte) => String.fromCharCode(byte)).join("").split("\n");
  need([lines.pop() === "", say`the policy does not end with a newline; it may have been cut off`]);
  for (const [at, line] of lines.entries()) {
    try {
      need([!/[\x00-\x08\x0a-\x1f\x7f]/.test(line), say`a control character`]);
      await readPolicyLine(line.split(/[ \t]+/).filter((item) => item !== ""), policy);
    } catch (error) {
      if (!(error instanceof Broken)) throw error;
      throw new Broken(...error.reasons.map((reason) => say`line ${at + 1} of the policy: ${reason}`));
    }
  }
  need([policy.quorum.length === 1, say`a policy has exactly one line 'quorum'`]);
  return policy;
}

async function readPolicyLine(items, { logs, witnesses, groups, quorum }) {
  const [what, name] = items;
  const isDefined = (member) => witnesses.has(member) || groups.has(member);
  if (what === "log" && (items.length === 2 || items.length === 3)) {
    logs.push(await readVkey(name, LOG, logs));
  } else if (what === "witness" && (items.length === 3 || items.length === 4)) {
    need([name !== "none" && !isDefined(name), say`the name is taken`]);
    witnesses.set(name, await readVkey(items[2], COSIGNER, [...witnesses.values()]));
  } else if (what === "group" && items.length >= 4) {
    const members = items.slice(3);
    const grouped = new Set(Array.from(groups.values(), (group) => group.members).flat());
    need([name !== "none" && !isDefined(name), say`the name is taken`]);
    const free = members.every((member) => isDefined(member) && !grouped.has(member)) && new Set(members).size === members.length;
    need([free, say`a member is not defined above, or stands in a group already`]);
    const threshold = { any: "1", all: String(members.length) }[items[2]] ?? items[2];
    const fits = /^[1-9][0-9]{0,8}$/.test(threshold) && Number(threshold) <= members.length;
    need([fits, say`a group asks for any, all, or a number of its members`]);
    groups.set(name, { threshold: Number(threshold), members });
  } else if (what === "quorum" && items.length === 2) {
    need([name === "none" || isDefined(name), say`the quorum is not defined above`]);
    quorum.push(name);
  } else {
    need([what === undefined || what.startsWith("#"), say`not a log, witness, group or quorum`]);
  }
}

async function readVkey(text, kind, known) {
  const [, name, keyId, data] = /^([^+]*)\+?([^+]*)\+?(.*)$/.exec(text);
  const raw = unbase64(data, 33);
  const key = await noteKey(Uint8Array.from(name, (letter) => letter.charCodeAt(0)), raw[0], raw.subarray(1));
  const spaced = /[\s\x1c-\x1f\x85]/u.test(new TextDecoder("utf-8", { ignoreBOM: true }).decode(key.name).replaceAll("\ufeff", ""));
  need(
    [name !== "" && !spaced && key.kind === kind && hex(key.id) === keyId, say`not a verifier key of the right type`],
    [known.every((other) => !same(key.publicKey, other.publicKey)), say`a key is listed twice`],
  );
  return key;
}

/** Whether the witnesses that signed reach what a policy names. */
function isReached(policy, name, signed) {
  if (name === "none") return true;
  if (policy.witnesses.has(name)) return signed.has(policy.witnesses.get(name).whole);
  const { threshold, members } = policy.groups.get(name);
  return members.filter((member) => isReached(policy, member, signed)).length >= threshold;
}
