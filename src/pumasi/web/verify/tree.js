"use strict";
/* Step 3: the tree (RFC 9162). Sizes are big integers: a checkpoint may name more entries than a number of JavaScript holds exactly. */

function leafHash(data) {
  return sha256(Uint8Array.of(0), data);
}

function nodeHash(left, right) {
  return sha256(Uint8Array.of(1), left, right);
}

/** 2.1.3.2: hash the leaf upwards with its siblings. */
async function included(index, size, leaf, proof, root) {
  if (index >= size) return false;
  let [fn, sn, node] = [index, size - 1n, leaf];
  for (const step of proof) {
    if (sn === 0n) return false;
    if (fn & 1n || fn === sn) {
      node = await nodeHash(step, node);
      while (fn && !(fn & 1n)) [fn, sn] = [fn >> 1n, sn >> 1n];
    } else {
      node = await nodeHash(node, step);
    }
    [fn, sn] = [fn >> 1n, sn >> 1n];
  }
  return sn === 0n && same(node, root);
}

/** 2.1.4.2: rebuild both roots from one proof. */
async function consistent(size1, size2, proof, root1, root2) {
  if (size1 >= size2) return size1 === size2 && proof.length === 0 && same(root1, root2);
  const steps = (size1 & (size1 - 1n)) === 0n ? [root1, ...proof] : proof;
  let [fn, sn] = [size1 - 1n, size2 - 1n];
  while (fn & 1n) [fn, sn] = [fn >> 1n, sn >> 1n];
  let old = steps[0] ?? new Uint8Array(), now = old;
  for (const step of steps.slice(1)) {
    if (sn === 0n) return false;
    if (fn & 1n || fn === sn) {
      [old, now] = [await nodeHash(step, old), await nodeHash(step, now)];
      while (fn && !(fn & 1n)) [fn, sn] = [fn >> 1n, sn >> 1n];
    } else {
      now = await nodeHash(now, step);
    }
    [fn, sn] = [fn >> 1n, sn >> 1n];
  }
  return sn === 0n && same(old, root1) && same(now, root2);
}
