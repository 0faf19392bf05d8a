// One message on the page: what was said, and what can be done with it.

import { copyButton, el, icon, iconButton } from "./dom.js";
import { Markdown, codeBlock } from "./markdown/render.js";

const LINE_PX = 27;
const LINE_LENGTH = 72;
const WHO = { user: "You", assistant: "Answer" };

const count = (n) => n.toLocaleString("en");

/** About how high a message will be, before it is laid out. */
function height(message) {
  const lines = message.text.split("\n").reduce((sum, line) => sum + 1 + line.length / LINE_LENGTH, 0);
  return Math.round(lines * LINE_PX + 64);
}

/** Pretty where it is JSON already, as it came where it is not. */
function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function attachment({ name, text }) {
  return el(
    "details",
    { class: "attachment" },
    el("summary", {}, icon("file"), el("span", {}, name)),
    el("pre", { tabindex: "0" }, text),
  );
}

export class MessageView {
  /** actions: what the page does for a message: edit, regenerate, choose, retry, placeOf. */
  constructor(message, actions) {
    this.message = message;
    this.actions = actions;
    this.isDrawn = false;
    this.body = el("div", { class: "body plain" }, message.text);
    this.element = el("article", { class: `message ${message.role}`, "aria-label": WHO[message.role] }, this.body);
    this.element.style.containIntrinsicBlockSize = `auto ${height(message)}px`;
  }

  /** Draws all of it; until then a message far away is its text alone. */
  draw() {
    if (this.isDrawn) return;
    this.isDrawn = true;
    if (this.message.role === "user") this.#drawQuestion();
    else this.#drawAnswer();
    this.foot = el("div", { class: "foot" });
    this.element.append(this.foot);
    this.drawFoot();
  }

  #drawQuestion() {
    const files = (this.message.attachments ?? []).map(attachment);
    if (files.length) this.element.prepend(el("div", { class: "attachments" }, ...files));
    this.body.hidden = !this.message.text;
  }

  #drawAnswer() {
    this.thought = el("div", { class: "thought-body" });
    this.summary = el("span", {});
    this.thinking = el(
      "details",
      { class: "thought" },
      el("summary", {}, icon("thought"), this.summary, icon("right")),
      this.thought,
    );
    this.thinking.hidden = true;
    this.calls = el("div", { class: "calls" });
    this.body.classList.remove("plain");
    this.body.replaceChildren();
    this.markdown = new Markdown(this.body);
    this.thoughts = new Markdown(this.thought);
    const words = "The oldest messages no longer fit into the context and were left out.";
    this.leftOut = el("p", { class: "note" }, words);
    this.body.before(this.leftOut, this.thinking);
    this.body.after(this.calls);
    this.grow();
  }

  /** Shows what has come of an answer. */
  grow() {
    if (!this.isDrawn) return;
    const { text, thought, isJson, ended, calls, leftOut } = this.message;
    this.leftOut.hidden = !leftOut;
    if (thought) {
      this.thinking.hidden = false;
      this.summary.textContent = this.#thinkingWords();
      this.thinking.classList.toggle("running", !text && !ended);
      this.thoughts.show(thought.trim());
    }
    if (isJson && text) this.body.replaceChildren(codeBlock(pretty(text), "json"));
    else this.markdown.show(text);
    if (calls) {
      this.calls.replaceChildren(
        ...calls.map((call) =>
          el("div", {}, el("p", { class: "note" }, `Call of ${call.name}`), codeBlock(pretty(call.text), "json")),
        ),
      );
    }
    if (this.stats) this.stats.textContent = this.#statsWords();
    this.element.classList.toggle("waiting", !ended && !text && !thought && !calls);
  }

  #thinkingWords() {
    const { text, ended, thoughtMs } = this.message;
    if (!text && !ended) return "Thinking…";
    return thoughtMs ? `Thought for ${Math.max(1, Math.round(thoughtMs / 1000))} s` : "Thoughts";
  }

  /** The row below: places among tries, actions, speed; above it what went wrong. */
  drawFoot() {
    if (!this.isDrawn) return;
    const { message, actions } = this;
    const isAnswer = message.role === "assistant";
    const isBusy = isAnswer && !message.ended && actions.isRunning(message);
    this.element.classList.toggle("running", isBusy);
    this.element.setAttribute("aria-busy", String(isBusy));
    this.element.querySelector(".trouble")?.remove();
    this.stats = isAnswer ? el("span", { class: "stats" }, this.#statsWords()) : null;
    if (isBusy) {
      this.foot.replaceChildren(this.stats);
      return;
    }
    if (isAnswer) this.element.classList.remove("waiting");
    const trouble = isAnswer ? this.#trouble() : null;
    if (trouble) this.foot.before(trouble);
    this.foot.replaceChildren(
      ...[
        this.#switcher(),
        copyButton(isAnswer ? "Copy answer" : "Copy message", () => message.text),
        isAnswer
          ? iconButton("again", "Regenerate", () => actions.regenerate(message.id))
          : iconButton("edit", "Edit", () => this.edit()),
        this.stats,
      ].filter(Boolean),
    );
  }

  #switcher() {
    const { message, actions } = this;
    const [at, of] = actions.placeOf(message);
    if (of < 2) return null;
    const step = (by) => () => actions.choose(message.id, by);
    return el(
      "span",
      { class: "switcher", role: "group", "aria-label": "Versions" },
      iconButton("left", "Previous version", step(-1), { disabled: at === 1 }),
      el("span", { class: "switcher-at" }, `${at} / ${of}`),
      iconButton("right", "Next version", step(1), { disabled: at === of }),
    );
  }

  #statsWords() {
    const { stats = {}, model } = this.message;
    const parts = [];
    if (stats.perSecond) parts.push(`${count(Math.round(stats.perSecond * 10) / 10)} tokens/s`);
    if (stats.tokens) parts.push(`${count(stats.tokens)} token${stats.tokens === 1 ? "" : "s"}`);
    if (model) parts.push(model);
    return parts.join(" · ");
  }

  #trouble() {
    const { message, actions } = this;
    const retry = el("button", { type: "button", class: "button", onclick: () => actions.regenerate(message.id) }, "Retry");
    if (message.error) {
      const { words, detail } = message.error;
      const more = detail ? el("p", { class: "detail" }, detail) : null;
      return el("div", { class: "trouble error" }, el("p", {}, words), more, retry);
    }
    if (message.stopped) return el("p", { class: "trouble note" }, "Stopped.");
    if (!message.ended) return el("p", { class: "trouble note" }, "This answer was not finished.");
    if (message.finish === "length") {
      return el("p", { class: "trouble note" }, "The answer was cut off here: it reached the limit of tokens.");
    }
    return null;
  }

  /** Puts a question into a box where it can be said differently. */
  edit() {
    if (this.element.classList.contains("editing")) return;
    const box = el("textarea", { "aria-label": "Edit message", rows: "1" });
    box.value = this.message.text;
    const close = () => {
      form.remove();
      this.element.classList.remove("editing");
    };
    const save = () => {
      if (!box.value.trim() && !this.message.attachments) return;
      close();
      this.actions.edit(this.message.id, box.value);
    };
    const form = el(
      "form",
      {
        class: "editor",
        onsubmit: (event) => {
          event.preventDefault();
          save();
        },
        onkeydown: (event) => {
          if (event.key === "Escape") {
            event.stopPropagation();
            close();
          } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            save();
          }
        },
      },
      box,
      el(
        "div",
        { class: "editor-row" },
        el("button", { type: "button", class: "button", onclick: close }, "Cancel"),
        el("button", { type: "submit", class: "button primary" }, "Send"),
      ),
    );
    this.element.classList.add("editing");
    this.element.append(form);
    box.focus();
    box.setSelectionRange(box.value.length, box.value.length);
  }
}
