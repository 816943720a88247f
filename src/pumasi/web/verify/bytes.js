"use strict";
/* Step 1: bytes. The file is canonical JSON (RFC 8785) to the byte; no number is a float. Base64 and hexadecimal strict. */

/** Something does not hold; the reasons are sentences. */
class Broken extends Error {
  constructor(...reasons) {
    super("not verified");
    this.reasons = reasons;
  }
}

/** Each rule is whether it holds, and what to say when it does not. All that fail are told. Nothing but `true` holds: no promise does. */
function need(...rules) {
  const reasons = rules.filter(([holds]) => holds !== true).map(([, sentence]) => sentence);
  if (reasons.length > 0) throw new Broken(...reasons);
}

const DEEPEST = 60; // levels of nesting; no document needs ten

/** RFC 8785: keys in the order of their UTF-16 code units, no spaces, the shortest escapes. */
function canonical(value) {
  return new TextEncoder().encode(canonicalText(value, 0));
}

function canonicalText(value, depth) {
  if (typeof value === "string") {
    if (/\p{Surrogate}/u.test(value)) throw new RangeError("half a character");
    return JSON.stringify(value);
  }
  if (value === null || typeof value === "boolean" || Number.isSafeInteger(value)) return JSON.stringify(value);
  if (typeof value !== "object" || depth >= DEEPEST) throw new RangeError("a float, a number beyond 2^53, or too deep");
  if (Array.isArray(value)) return `[${value.map((item) => canonicalText(item, depth + 1)).join(",")}]`;
  const members = Object.keys(value).sort().map((name) => `${canonicalText(name, depth)}:${canonicalText(value[name], depth + 1)}`);
  return `{${members.join(",")}}`;
}

function readCanonical(data) {
  let value, again;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data));
    again = canonical(value);
  } catch {
    throw new Broken(say`the file is not JSON as Pumasi writes it`);
  }
  need([same(again, data), say`the file is not in canonical form (RFC 8785): its bytes were changed`]);
  return value;
}

function same(one, two) {
  return one.length === two.length && one.every((byte, at) => byte === two[at]);
}

function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
  return whole;
}

function utf8(text) {
  return new TextEncoder().encode(text);
}

async function sha256(...parts) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", joined(...parts)));
}

function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function unhex(text) {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

function base64(bytes) {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** The bytes behind base64 that no encoder would have written differently. */
function unbase64(text, size = null) {
  const strict = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
  need([strict.test(text), say`a value is not base64`]);
  const data = bytesOf(text);
  need([base64(data) === text && (size === null || size === data.length), say`a base64 value has the wrong form or length`]);
  return data;
}

async function fingerprint(key) {
  return hex(await sha256(bytesOf(key))).slice(0, 16).match(/.{4}/g).join("-");
}

/** The order in which Python sorts texts: by code point, where JavaScript takes halves of characters. */
function byCodePoint(one, two) {
  const [left, right] = [[...one], [...two]];
  const at = left.findIndex((letter, index) => letter !== right[index]);
  if (at === -1) return left.length - right.length;
  return at >= right.length ? 1 : left[at].codePointAt(0) - right[at].codePointAt(0);
}
