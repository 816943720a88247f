"use strict";
/* Sentences in two languages.

   A sentence is written in English where it is said, as a template with the tag "say". Its Korean form stands in korean.js under the English
   one, with {0}, {1} … for what differs. A value may be a sentence itself; a sentence may go on in the next line. */

function say(strings, ...values) {
  const english = strings.reduce((sentence, part, at) => `${sentence}{${at - 1}}${part}`);
  return { english: english.replace(/\s*\n\s*/g, " "), values };
}

/** The text of a sentence; without translations in English. Anything else is shown as it is. */
function spoken(sentence, translations = {}) {
  if (typeof sentence !== "object") return String(sentence);
  const words = translations[sentence.english] ?? sentence.english;
  return words.replace(/\{(\d)\}/g, (_, at) => spoken(sentence.values[at], translations));
}

/* What verify.py inserts into its sentences as a word of its own. */
const WORDS = new Map([
  say`event`, say`application`, say`permit`, say`manifest`, say`job`, say`certificate`,
  say`coordinator`, say`member`, say`hospital`, say`researcher`, say`applicant`, say`board member`, say`irb`, say`steward`,
  say`steward or hospital`, say`key holder`, say`data review board`, say`ethics board`, say`data steward`, say`two output checkers`,
  say`submitted`, say`withdrawn`, say`done`, say`closed`,
  say`in review`, say`authorised`, say`in force`, say`open`, say`ended`, say`lapsed`, say`destroyed`,
  say`deletion pending`, say`reversal asked`, say`share-certificate`,
  say`running`, say`under review`, say`failed`, say`released`,
  say`approved`, say`exempt`, say`rejected`,
].map((known) => [known.english, known]));

function word(english) {
  return WORDS.get(english) ?? english;
}
