// The settings of a conversation: system prompt, sampling, thinking, the shape of the answer.

import { el, iconButton } from "./dom.js";
import { MORE_SAMPLERS, SAMPLERS } from "./samplers.js";

const TOUCHED = matchMedia("(pointer: coarse)"); // a keyboard on the glass would hide the settings

const round = (value) => String(Math.round(value * 1000) / 1000);

/** What is wrong with a JSON schema, in words, or "". */
function troubleOf(text) {
  if (!text.trim()) return "";
  try {
    const schema = JSON.parse(text);
    const isObject = typeof schema === "object" && schema !== null && !Array.isArray(schema);
    return isObject ? "" : "A schema is a JSON object: { … }.";
  } catch (error) {
    return `This is not JSON yet: ${error.message}.`;
  }
}

export class Panel {
  /** changed: called when the panel opens or closes. */
  constructor(element, session, button) {
    Object.assign(this, { element, session, button });
    this.defaults = {};
    button.addEventListener("click", () => this.toggle());
    element.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        this.toggle(false);
      }
    });
  }

  get isOpen() {
    return !this.element.hidden;
  }

  toggle(isOpen = !this.isOpen) {
    this.element.hidden = !isOpen;
    this.button.setAttribute("aria-expanded", String(isOpen));
    if (isOpen) {
      this.draw();
      this.element.querySelector(TOUCHED.matches ? "button" : "textarea").focus();
    } else {
      this.button.focus();
    }
  }

  /** Sets what the model does where nothing is chosen here. */
  setDefaults(defaults) {
    this.defaults = defaults ?? {};
    if (this.isOpen) this.draw();
  }

  draw() {
    const close = iconButton("close", "Close settings", () => this.toggle(false));
    this.element.replaceChildren(
      el("div", { class: "panel-head" }, el("h2", {}, "This conversation"), close),
      this.#system(),
      this.#think(),
      this.#sampling(),
      this.#schema(),
    );
    this.#mark();
  }

  /** Shows on the button whether anything is set. */
  #mark() {
    const { system, think, schema, sampling } = this.session.open.chat.settings;
    const isSet = Boolean(system || think || schema || Object.keys(sampling ?? {}).length);
    this.button.classList.toggle("is-set", isSet);
  }

  async #set(settings) {
    await this.session.set(settings);
    this.#mark();
  }

  #system() {
    const box = el("textarea", {
      id: "system",
      rows: "4",
      placeholder: "Who the model is, and how it should answer.",
      oninput: () => this.#set({ system: box.value }),
    });
    box.value = this.session.open.chat.settings.system ?? "";
    return el("section", {}, el("label", { for: "system" }, "System prompt"), box);
  }

  #think() {
    const choices = { "": "The model's choice", on: "On", off: "Off" };
    const select = el(
      "select",
      { id: "think", onchange: () => this.#set({ think: select.value }) },
      ...Object.entries(choices).map(([value, words]) => el("option", { value }, words)),
    );
    select.value = this.session.open.chat.settings.think ?? "";
    return el("section", { class: "line" }, el("label", { for: "think" }, "Thinking"), select);
  }

  #sampling() {
    const reset = el("button", { type: "button", class: "link", onclick: () => this.#reset() }, "Reset");
    return el(
      "section",
      {},
      el("div", { class: "line" }, el("h3", {}, "Sampling"), reset),
      ...SAMPLERS.map((row) => this.#sampler(row)),
      el("details", {}, el("summary", {}, "More"), ...MORE_SAMPLERS.map((row) => this.#sampler(row))),
    );
  }

  async #reset() {
    await this.#set({ sampling: {} });
    this.draw();
  }

  #sampler([name, words, min, max, step, help]) {
    const usual = this.defaults[name];
    const box = el("input", {
      id: `sampler-${name}`,
      type: "number",
      inputmode: "decimal",
      min,
      max,
      step,
      placeholder: typeof usual === "number" && name !== "seed" && name !== "max_tokens" ? round(usual) : "–",
      title: help,
      oninput: () => {
        const { [name]: _, ...others } = this.session.open.chat.settings.sampling ?? {};
        const isSet = box.value !== "" && box.validity.valid;
        this.#set({ sampling: isSet ? { ...others, [name]: Number(box.value) } : others });
      },
    });
    box.value = this.session.open.chat.settings.sampling?.[name] ?? "";
    return el("div", { class: "line" }, el("label", { for: `sampler-${name}`, title: help }, words), box);
  }

  #schema() {
    const trouble = el("p", { class: "trouble-line", role: "status" });
    const box = el("textarea", {
      id: "schema",
      rows: "5",
      class: "mono",
      spellcheck: "false",
      placeholder: '{"type": "object", "properties": { … }}',
      "aria-describedby": "schema-help",
      oninput: () => {
        trouble.textContent = troubleOf(box.value);
        box.setAttribute("aria-invalid", String(Boolean(trouble.textContent)));
        const isGood = box.value.trim() && !trouble.textContent;
        this.#set({ schema: isGood ? box.value : "" });
      },
    });
    box.value = this.session.open.chat.settings.schema ?? "";
    return el(
      "section",
      {},
      el("label", { for: "schema" }, "JSON schema of the answer"),
      box,
      trouble,
      el("p", { class: "help", id: "schema-help" }, "With a schema, every answer is JSON that follows it."),
    );
  }
}
