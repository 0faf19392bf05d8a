// Blocks of Markdown to nodes; of a text that grows only the last block is made anew.

import { copyButton, el } from "../dom.js";
import { highlighted } from "../highlight/highlight.js";
import { blocksOf } from "./blocks.js";
import { inline } from "./inline.js";

const CALM_LENGTH = 30_000;

/** A code block: its language, a copy button, the code. */
export function codeBlock(text, language, isClosed = true) {
  const shown = isClosed || text.length < CALM_LENGTH ? highlighted(text, language) : text;
  return el(
    "div",
    { class: "code" },
    el("div", { class: "code-head" }, el("span", {}, language || "text"), copyButton("Copy code", () => text)),
    el("pre", { tabindex: "0" }, el("code", {}, shown)),
  );
}

function item({ task, blocks }, isLoose) {
  const check = task === null ? null : el("input", { type: "checkbox", disabled: true, checked: task });
  const children = blocks.map((block) =>
    block.kind === "paragraph" && !isLoose ? inline(block.text) : node(block),
  );
  return el("li", { class: task === null ? null : "task" }, check, ...children);
}

function table({ align, head, rows }) {
  const row = (tag, cells) =>
    el("tr", {}, ...cells.map((cell, i) => el(tag, { class: `to-${align[i]}` }, inline(cell))));
  return el(
    "div",
    { class: "table", tabindex: "0", role: "region", "aria-label": "Table" },
    el(
      "table",
      {},
      el("thead", {}, row("th", head)),
      el("tbody", {}, ...rows.map((cells) => row("td", cells))),
    ),
  );
}

const NODES = {
  heading: ({ level, text }) => el(`h${level}`, {}, inline(text)),
  paragraph: ({ text }) => el("p", {}, inline(text)),
  code: ({ text, language, isClosed }) => codeBlock(text, language, isClosed),
  quote: ({ blocks }) => el("blockquote", {}, ...blocks.map(node)),
  list: ({ start, isLoose, items }) =>
    el(
      start === null ? "ul" : "ol",
      { start: start !== null && start !== 1 ? String(start) : null },
      ...items.map((one) => item(one, isLoose)),
    ),
  table,
  rule: () => el("hr"),
  math: ({ text }) => el("p", { class: "math" }, text),
};

const node = (block) => NODES[block.kind](block);

/** Shows a text in an element, and again as it grows. */
export class Markdown {
  constructor(element) {
    this.element = element;
    this.source = "";
    this.settled = 0;
    this.open = [];
  }

  /** Shows a text; if it begins with the one shown before, blocks that are done stay. */
  show(text) {
    if (!text.startsWith(this.source)) {
      this.element.replaceChildren();
      this.settled = 0;
      this.open = [];
    }
    this.source = text;
    this.#settle();
    this.#replaceOpen(blocksOf(text.slice(this.settled)));
  }

  /** Leaves alone from now on what no further line can change: all whole blocks but the last. */
  #settle() {
    const end = this.source.lastIndexOf("\n") + 1;
    const whole = this.source.slice(this.settled, end);
    const blocks = blocksOf(whole);
    if (blocks.length < 2) return;
    this.#replaceOpen(blocks);
    this.open = this.open.slice(-1);
    let lines = blocks.at(-1).at;
    let at = 0;
    while (lines-- > 0) at = whole.indexOf("\n", at) + 1;
    this.settled += at;
  }

  #replaceOpen(blocks) {
    for (const old of this.open) old.remove();
    this.open = blocks.map(node);
    this.element.append(...this.open);
  }
}
