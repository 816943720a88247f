"use strict";
/* Step 1, continued: Ed25519 as verify.py's `signature_holds` decides.

   Browsers bring different libraries, which agree on honest signatures and differ on crafted ones. So what they differ on is decided
   here, before the browser is asked: keys of small order (anybody can sign under them), keys and R that are not written in the one way
   RFC 8032 allows, and S beyond the group's order. What is left is the equation S·B = R + k·A itself, with or without the cofactor;
   `engineIsSound` asks once whether the browser takes the strict one, and the page does not work where it does not. */

const PRIME = 2n ** 255n - 19n;
const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
const ORDER_8 = 0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n;
/* The y of the points of small order, also as encoded above the prime. */
const WEAK = new Set([0n, 1n, ORDER_8, PRIME - ORDER_8, PRIME - 1n, PRIME, PRIME + 1n]);

function littleEndian(bytes) {
  return BigInt(`0x${hex(bytes.toReversed())}`);
}

/** The y of an encoded point, or null when RFC 8032 would have written the point otherwise. */
function properY(encoded) {
  const [y, sign] = [BigInt.asUintN(255, littleEndian(encoded)), encoded[31] >> 7];
  const xIsZero = y === 1n || y === PRIME - 1n;
  return y >= PRIME || (xIsZero && sign === 1) ? null : y;
}

async function signatureHolds(key, signature, message) {
  if (key.length !== 32 || signature.length !== 64) return false;
  const [y, r, s] = [properY(key), properY(signature.subarray(0, 32)), littleEndian(signature.subarray(32))];
  // A key with y above the prime passes in OpenSSL; but nobody knows a private key to one of the few that are not weak.
  if (y === null || WEAK.has(y) || r === null || WEAK.has(r) || s >= ORDER) return false;
  return engineHolds(key, signature, message);
}

/** What the browser says. Some refuse a key that is no point at the import, some at the check. */
async function engineHolds(key, signature, message) {
  const imported = await crypto.subtle.importKey("raw", key, "Ed25519", false, ["verify"]).catch(() => null);
  return imported !== null && (await crypto.subtle.verify("Ed25519", imported, signature, message));
}

/* Signatures on "pumasi probe": an honest one; one that holds only when both sides are multiplied by the cofactor. */
const PROBES = [
  { key: "80bf6a1bda6f2506a5dda1a2e7230569c453585b74f2b4235239c856893bfac2", holds: true,
    sig: "fb7695e7cb0bb1a146b7a98375bf72c91c4afbb053f362b38c251c0d3269280c" +
      "a81b37baafe1038bf7dae247b1be410a7661b4d68de042252408a23950d2350d" },
  { key: "80bf6a1bda6f2506a5dda1a2e7230569c453585b74f2b4235239c856893bfac2", holds: false,
    sig: "a5b8cfb30f6a4497a3a1bb1d1c216323f6b67d271848ef4bdf796ffb93658517" +
      "8b087abca37895c85e04772668ca2a64180fd0b740be79a5e9158a6c7986fe0e" },
];

/** Whether this browser can check Ed25519, and decides on the probes as we do. */
async function engineIsSound() {
  if (globalThis.crypto?.subtle === undefined) return false;
  const ask = ({ key, sig }) => engineHolds(unhex(key), unhex(sig), utf8("pumasi probe")).catch(() => null);
  const answers = await Promise.all(PROBES.map(ask));
  return PROBES.every(({ holds }, at) => answers[at] === holds);
}

/** A signed document is {body, key, sig}; the signature is over its kind and its canonical body. */
async function checkSigned(value, kind) {
  need([record(SIGNED)(value), say`a signed ${word(kind)} has exactly the fields body, key and sig`]);
  const message = joined(utf8(`pumasi/${kind}/v1\n`), canonical(value.body));
  const holds = await signatureHolds(unbase64(value.key, 32), unbase64(value.sig, 64), message);
  need([holds, say`the signature on the ${word(kind)} does not hold`]);
}
