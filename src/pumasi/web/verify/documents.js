"use strict";
/* Step 6: documents. Each is the one committed to (`CaseHistory.opened`), is signed by the right party, and says what its event says. */

function shaped(body, fields, kind) {
  need([record(fields)(body), say`the ${word(kind)} does not have the fields of a ${word(kind)}`]);
  return body;
}

/** A column that was asked for as it is may come treated, as the hospitals' rules say; one whose form was asked for comes so. */
function isAlike(rule, asked) {
  if (rule.is !== asked.is) return false;
  if (has(asked, "treat")) return has(rule, "treat") && rule.treat === asked.treat;
  if (asked.keep !== null) return has(rule, "keep") && rule.keep === asked.keep;
  return !has(rule, "keep") || rule.keep === null;
}

/** Whether each table and column of a permit was asked for, in the same class and in a form that shows no more. */
function isCovered(permitted, asked) {
  return Object.entries(permitted).every(([name, table]) => {
    if (!has(asked, name) || table.person !== asked[name].person) return false;
    const { columns } = asked[name];
    return Object.entries(table.columns).every(([column, rule]) => has(columns, column) && isAlike(rule, columns[column]));
  });
}

/** Every column that a question reads. */
function columnsOf({ reads = null, by = [], columns = [], design = null }) {
  if (reads !== null) return reads;
  if (design === null) return [...by, ...columns];
  return [...design.columns.flatMap((product) => product.factors.map((factor) => factor.column)), design.outcome];
}

/** Whether a permit covers a question: its kind, its table and every column it reads. */
function mayAsk(question, permit) {
  const kind = has(question, "kind") ? question.kind : null;
  const { table } = question;
  if (has(question, "reads")) {
    if (!ANALYSIS(kind) || !TEXT(table) || !many(TEXT)(question.reads)) return false;
  } else if (typeof kind !== "string" || !has(QUESTIONS, kind) || !record(QUESTIONS[kind])(question)) return false;
  if (!permit.kinds.includes(kind) || !has(permit.tables, table)) return false;
  return columnsOf(question).every((column) => has(permit.tables[table].columns, column));
}
