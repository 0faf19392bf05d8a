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

/** The lines that each block of a text takes, as text. */
function sourcesOf(text, blocks) {
  const lines = text.split("\n");
  return blocks.map(({ at }, i) => lines.slice(at, blocks[i + 1]?.at).join("\n"));
}

/** Shows a text in an element, and again as it grows. */
export class Markdown {
  constructor(element) {
    this.element = element;
    this.source = "";
    this.settled = 0;
    this.open = [];
  }

  /** Shows a text; if it begins with the one shown before, only what changed is made anew. */
  show(text) {
    if (!text.startsWith(this.source)) {
      this.element.replaceChildren();
      this.settled = 0;
      this.open = [];
    }
    this.source = text;
    this.#settle();
    const rest = text.slice(this.settled);
    this.#draw(rest, blocksOf(rest));
  }

  /** Leaves behind what no further line can change: all blocks of whole lines but the last. */
  #settle() {
    const whole = this.source.slice(this.settled, this.source.lastIndexOf("\n") + 1);
    const blocks = blocksOf(whole);
    if (blocks.length < 2) return;
    this.#draw(whole, blocks);
    this.open = this.open.slice(-1);
    const lines = whole.split("\n").slice(0, blocks.at(-1).at);
    this.settled += lines.reduce((sum, line) => sum + line.length + 1, 0);
  }

  /** Draws the blocks that are not settled; those whose lines are the same stay. */
  #draw(text, blocks) {
    const sources = sourcesOf(text, blocks);
    let same = 0;
    while (same < blocks.length && this.open[same]?.source === sources[same]) same++;
    for (const { element } of this.open.splice(same)) element.remove();
    for (let i = same; i < blocks.length; i++) {
      this.open.push({ source: sources[i], element: node(blocks[i]) });
      this.element.append(this.open[i].element);
    }
  }
}
