// The text inside a block to nodes: code, emphasis, links, and math left as it is written.

import { el } from "../dom.js";

const ESCAPED = /[!-/:-@[-`{-~]/;
const SPACE = /\s/;
const PUNCTUATION = /[\p{P}\p{S}]/u;
const TARGET =
  /\(\s*(?:<([^<>\n]*)>|([^\s()<>]*(?:\([^\s()<>]*\)[^\s()<>]*)*))(?:\s+(?:"[^"]{0,500}"|'[^']{0,500}'))?\s*\)/y;
const AUTOLINK = /<((?:https?:\/\/|mailto:)[^\s<>]{1,2000})>/y;
const BARE = /https?:\/\/[^\s<>`"]+/y;
const MAX_MARKS = 4000;
const TAGS = { "*1": "em", "*2": "strong", _1: "em", _2: "strong", "~1": "del", "~2": "del" };

/** The address if it may be followed: of the web or of a mailbox, written out whole. */
export function safeHref(address) {
  try {
    const url = new URL(address.trim());
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

function link(href, ...children) {
  return el("a", { href, target: "_blank", rel: "noopener noreferrer", title: href }, ...children);
}

/** The nodes of a text. */
export function inline(text) {
  return new Scanner(text).nodes();
}

class Scanner {
  constructor(text) {
    this.text = text;
    this.at = 0;
    this.parts = [];
    this.plain = "";
    this.brackets = [];
    this.nMarks = 0;
    this.noClosing = new Set();
  }

  nodes() {
    while (this.at < this.text.length) this.#step();
    this.#flush();
    return emphasized(this.parts);
  }

  #flush() {
    if (this.plain) this.parts.push(document.createTextNode(this.plain));
    this.plain = "";
  }

  #push(part, length) {
    this.#flush();
    this.parts.push(part);
    this.at += length;
  }

  #literal(length) {
    this.plain += this.text.slice(this.at, this.at + length);
    this.at += length;
  }

  #step() {
    const char = this.text[this.at];
    switch (char) {
      case "\\":
        return this.#backslash();
      case "`":
        return this.#code();
      case "$":
        return this.#dollar();
      case "*":
      case "_":
      case "~":
        return this.#mark(char);
      case "!":
        if (this.text[this.at + 1] === "[") return this.#open(2);
        return this.#literal(1);
      case "[":
        return this.#open(1);
      case "]":
        return this.#close();
      case "<":
        return this.#autolink();
      case "h":
        return this.#bare();
      case "\n":
        this.plain = this.plain.trimEnd();
        return this.#push(el("br"), 1);
      default:
        return this.#literal(1);
    }
  }

  #backslash() {
    const next = this.text[this.at + 1] ?? "";
    if (next === "(" || next === "[") {
      const end = this.#find(next === "(" ? "\\)" : "\\]", this.at + 2);
      if (end > 0) return this.#math(end + 2);
    }
    if (next === "\n") {
      this.at += 1;
      return;
    }
    if (!ESCAPED.test(next)) return this.#literal(1);
    this.plain += next;
    this.at += 2;
  }

  /** Where a string stands from `from` on, or -1; one that is not there is looked for once. */
  #find(wanted, from) {
    if (this.noClosing.has(wanted)) return -1;
    const end = this.text.indexOf(wanted, from);
    if (end < 0) this.noClosing.add(wanted);
    return end;
  }

  #math(end) {
    this.#push(el("span", { class: "math" }, this.text.slice(this.at, end)), end - this.at);
  }

  #dollar() {
    const isDouble = this.text[this.at + 1] === "$";
    const mark = isDouble ? "$$" : "$";
    const from = this.at + mark.length;
    const end = this.#find(mark, from);
    if (end <= from) return this.#literal(mark.length);
    const inside = this.text.slice(from, end);
    const isMath = isDouble || (inside === inside.trim() && !/\d/.test(this.text[end + 1] ?? ""));
    return isMath && inside.length < 1000 ? this.#math(end + mark.length) : this.#literal(mark.length);
  }

  #run(char) {
    let end = this.at;
    while (this.text[end] === char) end++;
    return end - this.at;
  }

  #code() {
    const length = this.#run("`");
    const end = this.#closingTicks(length);
    if (end < 0) return this.#literal(length);
    const inside = this.text.slice(this.at + length, end).replaceAll("\n", " ");
    const isPadded = inside.startsWith(" ") && inside.endsWith(" ") && inside.trim() !== "";
    const code = el("code", {}, isPadded ? inside.slice(1, -1) : inside);
    this.#push(code, end + length - this.at);
  }

  #closingTicks(length) {
    if (this.noClosing.has(length)) return -1;
    let at = this.at + length;
    for (;;) {
      at = this.text.indexOf("`", at);
      if (at < 0) break;
      let end = at;
      while (this.text[end] === "`") end++;
      if (end - at === length) return at;
      at = end;
    }
    this.noClosing.add(length);
    return -1;
  }

  #mark(char) {
    const length = this.#run(char);
    const before = this.text[this.at - 1] ?? " ";
    const after = this.text[this.at + length] ?? " ";
    const isLeft = !SPACE.test(after) && (!PUNCTUATION.test(after) || SPACE.test(before) || PUNCTUATION.test(before));
    const isRight = !SPACE.test(before) && (!PUNCTUATION.test(before) || SPACE.test(after) || PUNCTUATION.test(after));
    const isWord = char === "_";
    const opens = isLeft && (!isWord || !isRight || PUNCTUATION.test(before));
    const closes = isRight && (!isWord || !isLeft || PUNCTUATION.test(after));
    const isUsed = (opens || closes) && (char !== "~" || length <= 2) && ++this.nMarks < MAX_MARKS;
    if (!isUsed) return this.#literal(length);
    this.#push({ char, length, opens, closes }, length);
  }

  #open(length) {
    this.#flush();
    this.brackets.push({ at: this.parts.length, isImage: length === 2 });
    this.#push(document.createTextNode(this.text.slice(this.at, this.at + length)), length);
  }

  /** The end of a link's words: with an address behind it they become one. */
  #close() {
    const bracket = this.brackets.pop();
    if (!bracket) return this.#literal(1);
    TARGET.lastIndex = this.at + 1;
    const target = TARGET.exec(this.text);
    const href = target && safeHref(target[1] ?? target[2] ?? "");
    if (!href) return this.#literal(1);
    this.#flush();
    const inner = emphasized(this.parts.splice(bracket.at).slice(1));
    if (!inner.textContent.trim()) inner.append(href);
    const isInLink = bracket.isImage && this.brackets.length > 0;
    if (!isInLink) this.brackets = [];
    this.#push(isInLink ? inner : link(href, inner), 1 + target[0].length);
  }

  #autolink() {
    AUTOLINK.lastIndex = this.at;
    const found = AUTOLINK.exec(this.text);
    const href = found && safeHref(found[1]);
    if (!href) return this.#literal(1);
    this.#push(link(href, found[1]), found[0].length);
  }

  #bare() {
    BARE.lastIndex = this.at;
    const isStart = !/[\w/]/.test(this.text[this.at - 1] ?? " ");
    const found = isStart && this.brackets.length === 0 ? BARE.exec(this.text) : null;
    if (!found) return this.#literal(1);
    const address = trimmed(found[0]);
    const href = safeHref(address);
    if (!href) return this.#literal(1);
    this.#push(link(href, address), address.length);
  }
}

/** An address without the punctuation of the sentence that it ends. */
function trimmed(address) {
  let end = address.length;
  const nOpen = address.split("(").length;
  let nClosed = address.split(")").length;
  while (end > 0) {
    const last = address[end - 1];
    if (last === ")" && nClosed > nOpen) nClosed--;
    else if (!".,:;!?'*_~]".includes(last)) break;
    end--;
  }
  return address.slice(0, end);
}

/** Parts with their marks paired: an opening and a closing one become an element. */
function emphasized(parts) {
  const bottoms = new Map();
  for (let close = 0; close < parts.length; close++) {
    const closer = parts[close];
    if (!closer.char || !closer.closes) continue;
    const key = `${closer.char}${closer.opens}${closer.length % 3}`;
    const bottom = bottoms.get(key) ?? -1;
    let open = close - 1;
    while (open > bottom && !pairs(parts[open], closer)) open--;
    if (open <= bottom) {
      bottoms.set(key, close - 1);
      continue;
    }
    close = paired(parts, open, close);
    for (const [other, at] of bottoms) bottoms.set(other, Math.min(at, open));
  }
  const fragment = document.createDocumentFragment();
  for (const part of parts) fragment.append(part.char ? part.char.repeat(part.length) : part);
  return fragment;
}

function pairs(opener, closer) {
  if (opener.char !== closer.char || !opener.opens) return false;
  if (opener.char === "~") return opener.length === closer.length;
  const isBoth = opener.closes || closer.opens;
  const sum = opener.length + closer.length;
  return !(isBoth && sum % 3 === 0 && (opener.length % 3 || closer.length % 3));
}

/** Puts what stands between two marks into an element; where the walk goes on. */
function paired(parts, open, close) {
  const [opener, closer] = [parts[open], parts[close]];
  const n = Math.min(opener.length, closer.length, 2);
  const node = el(TAGS[`${opener.char}${n}`]);
  for (const part of parts.slice(open + 1, close)) {
    node.append(part.char ? part.char.repeat(part.length) : part);
  }
  opener.length -= n;
  closer.length -= n;
  const left = opener.length ? [opener] : [];
  const right = closer.length ? [closer] : [];
  parts.splice(open, close - open + 1, ...left, node, ...right);
  return open + left.length;
}
