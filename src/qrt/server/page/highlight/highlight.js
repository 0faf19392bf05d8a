// Code to nodes whose classes say what kind of token each is.

import { el } from "../dom.js";
import { ALIASES, LANGUAGES } from "./languages.js";

const SETS = ["keyword", "type", "constant"];
const MAX_LENGTH = 200_000;
const compiled = new Map();

function languageOf(name) {
  const known = Object.hasOwn(ALIASES, name) ? ALIASES[name] : name;
  return Object.hasOwn(LANGUAGES, known) ? known : null;
}

/** One expression for all rules of a language, each in a group of its own. */
function expression(language) {
  if (!compiled.has(language)) {
    const rules = LANGUAGES[language].rules.map(([, source]) => `(${source})`);
    compiled.set(language, new RegExp(rules.join("|"), "g"));
  }
  return compiled.get(language);
}

function classOfWord({ ignoresCase, ...table }, word, next) {
  const wanted = ignoresCase ? word.toLowerCase() : word;
  return SETS.find((name) => table[name]?.has(wanted)) ?? (next === "(" ? "call" : null);
}

/** The nodes of a code; of a language that is not known, its text. */
export function highlighted(code, name) {
  const language = languageOf(name);
  const fragment = document.createDocumentFragment();
  if (!language || code.length > MAX_LENGTH) {
    fragment.append(code);
    return fragment;
  }
  const table = LANGUAGES[language];
  let at = 0;
  for (const match of code.matchAll(expression(language))) {
    const token = match[0];
    if (!token) continue;
    const rule = table.rules[match.slice(1).findIndex((group) => group !== undefined)][0];
    const end = match.index + token.length;
    const kind = rule === "word" ? classOfWord(table, token, code[end]) : rule;
    if (!kind || kind === "plain") continue;
    if (match.index > at) fragment.append(code.slice(at, match.index));
    fragment.append(el("span", { class: `t-${kind}` }, token));
    at = end;
  }
  fragment.append(code.slice(at));
  return fragment;
}
