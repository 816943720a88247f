"use strict";
/* The page around verify.js: two languages, two files, one verdict. It writes text only, never markup. */

const $ = (id) => document.getElementById(id);
const SHOWN_AT_ONCE = 12; // reasons; a broken bundle can have hundreds
let translations = {};
let shown = null; // the latest verdict, said again when the language changes
let asked = 0; // grows with every check and every change of the form: a verdict never stands beside another file

// --- language ---

/** The English text of an element in the page, kept on it before it is translated. */
function sentenceOf(element) {
  element.dataset.say ||= element.textContent;
  return { english: element.dataset.say, values: [] };
}

function translate(root) {
  for (const element of root.querySelectorAll("[data-say]")) element.textContent = visible(sentenceOf(element));
}

function speak(language) {
  translations = language === "ko" ? KOREAN : {};
  document.documentElement.lang = language;
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
  }
  translate(document);
  [$("bundle"), $("policy")].forEach(showChosen);
  if (shown !== null) render(shown);
}

/** Korean when the browser's reader prefers it to English. */
function preferred() {
  return navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => tag === "ko" || tag === "en") ?? "en";
}

/** What a reader may see of a sentence: nothing invisible, nothing that turns the direction of a line, nothing that looks like a space. */
function visible(sentence) {
  return spoken(sentence, translations).replace(HIDDEN, (letter) => `\\u{${letter.codePointAt(0).toString(16)}}`);
}

// --- files ---

function showChosen(input) {
  const place = input.closest("label").querySelector(".chosen");
  const [file] = input.files;
  place.textContent = visible(file?.name ?? sentenceOf(place));
  place.closest("label").classList.toggle("full", file !== undefined);
  $("forget").hidden = $("policy").files.length === 0;
}

function takeDrops(label, input) {
  const mark = (event) => label.classList.toggle("over", event.type === "dragover");
  label.addEventListener("dragover", mark);
  label.addEventListener("dragleave", mark);
  label.addEventListener("drop", (event) => {
    mark(event);
    if (event.dataTransfer.files.length === 0) return;
    const one = new DataTransfer();
    one.items.add(event.dataTransfer.files[0]);
    input.files = one.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });
  input.addEventListener("change", () => showChosen(input));
}

// --- the check ---

/** What to show for these files: {verdict: holds, report} | {verdict: broken | unreadable, reasons}. */
async function judge(bundle, policy, { mayBeOpen, mayBeErased = false }) {
  const read = policy === null ? null : await readPolicy(policy).catch(onlyBroken);
  if (read instanceof Broken) return { verdict: "unreadable", reasons: read.reasons };
  const verified = await verify(bundle, { mayBeOpen, mayBeErased }).catch(onlyBroken);
  if (verified instanceof Broken) return { verdict: "broken", reasons: verified.reasons };
  const reasons = read === null ? [] : await policyRefusals(read, verified);
  if (reasons.length > 0) return { verdict: "broken", reasons };
  return { verdict: "holds", report: await report(verified, { pinned: read !== null }) };
}

function onlyBroken(error) {
  if (error instanceof Broken) return error;
  throw error;
}

async function bytesFrom(input) {
  const [file] = input.files;
  return file === undefined ? null : new Uint8Array(await file.arrayBuffer());
}

async function check() {
  const [file] = $("bundle").files, mayBeOpen = $("open").checked, mayBeErased = $("erased").checked;
  let bundle, policy;
  try {
    [bundle, policy] = [await bytesFrom($("bundle")), await bytesFrom($("policy"))];
  } catch (error) {
    return { verdict: "unreadable", reasons: [say`a file cannot be read: ${error.message}`], file: { name: file.name, digest: null } };
  }
  const about = { name: file.name, digest: hex(await sha256(bundle)) };
  try {
    return { ...(await judge(bundle, policy, { mayBeOpen, mayBeErased })), file: about };
  } catch (error) {
    return { verdict: "broken", reasons: [say`the check itself failed, so nothing is known about this file: ${error.message}`], file: about };
  }
}

async function checkAndShow() {
  const mine = (asked += 1);
  $("check").disabled = true;
  $("status").textContent = visible(say`Checking…`);
  const result = await check();
  $("check").disabled = false;
  $("status").textContent = "";
  if (mine !== asked) return;
  shown = result;
  render(shown);
  $("result").scrollIntoView();
  $("verdict").focus({ preventScroll: true });
}

// --- the result ---

function element(tag, content, className = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...[content].flat().map((item) => (item instanceof Node ? item : visible(item))));
  return made;
}

function items(sentences) {
  return sentences.map((sentence) => element("li", sentence));
}

function render(result) {
  const section = $("result");
  section.replaceChildren($(result.verdict).content.cloneNode(true));
  section.dataset.verdict = result.verdict;
  section.setAttribute("aria-labelledby", "verdict");
  section.hidden = false;
  translate(section);
  const fill = (name, nodes) => section.querySelector(`[data-fill="${name}"]`).append(...nodes);
  fill("file", aboutFile(result.file));
  if (result.verdict === "holds") renderReport(result.report, fill);
  else fill("reasons", reasonsOf(result.reasons));
  section.querySelector("[data-print]")?.addEventListener("click", () => print());
}

function aboutFile({ name, digest }) {
  const rows = [[say`File`, name], ...(digest === null ? [] : [[say`SHA-256`, element("code", digest)]])];
  return rows.map(([term, value]) => element("div", [element("dt", term), element("dd", value)]));
}

function renderReport(told, fill) {
  fill("title", [visible(told.title)]);
  fill("warnings", warningsOf(told).map(([, title, sentence]) => element("li", [element("strong", title), " ", element("span", sentence)])));
  fill("proven", items(told.proven));
  fill("hospitals", told.hospitals.map(({ name, sentences }) => {
    return element("section", [element("h4", name), element("ul", items(sentences))]);
  }));
  fill("ofLog", items(told.ofLog));
  fill("notProven", items(told.notProven));
  if (told.fingerprints.length === 0) return;
  const row = ({ name, fingerprint }) => element("div", [element("dt", name), element("dd", element("code", fingerprint))]);
  fill("fingerprints", [element("h3", say`Key fingerprints`), element("dl", told.fingerprints.map(row), "keys")]);
}

function warningsOf({ pinned, witnessed, closed, whole }) {
  return [
    [pinned, say`KEYS NOT PINNED`, say`Consistent, not authentic: whoever invents all keys can write a bundle that passes. A policy prevents that.`],
    [witnessed, say`NOT WITNESSED`, say`Only the log itself has signed; a second history of it could exist.`],
    [whole, say`NOT WHOLE`, say`Documents were erased or left out; what depends on them is not checked.`],
    [closed, say`NOT CLOSED`, say`The case still runs; its latest events could be missing.`],
  ].filter(([fine]) => !fine);
}

function reasonsOf(reasons) {
  const [first, rest] = [items(reasons.slice(0, SHOWN_AT_ONCE)), items(reasons.slice(SHOWN_AT_ONCE))];
  if (rest.length === 0) return first;
  const more = element("details", [element("summary", say`and ${rest.length} more`), element("ul", rest)]);
  return [...first, element("li", more, "rest")];
}

// --- start ---

for (const type of ["dragover", "drop"]) document.addEventListener(type, (event) => event.preventDefault()); // a missed drop opens nothing
takeDrops($("bundle-drop"), $("bundle"));
takeDrops($("policy-drop"), $("policy"));
$("forget").addEventListener("click", () => {
  $("policy").value = "";
  $("policy").dispatchEvent(new Event("change", { bubbles: true }));
  $("policy").focus();
});
$("form").addEventListener("change", () => {
  asked += 1;
  shown = null;
  $("result").hidden = true;
});
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  checkAndShow();
});
for (const button of document.querySelectorAll("[data-language]")) button.addEventListener("click", () => speak(button.dataset.language));
speak(preferred());
engineIsSound().then((sound) => {
  $("unable").hidden = sound;
  $("check").disabled = !sound;
});
