// The model switcher: which models there are, which is loaded, and how far loading is.

import { el, icon, iconButton, place, walkable } from "./dom.js";

const UNITS = ["B", "kB", "MB", "GB", "TB"];
const STATUS = { loaded: "loaded", loading: "loading", unloaded: "", sleeping: "" };

function byteSize(n) {
  let unit = 0;
  for (; n >= 1000 && unit < UNITS.length - 1; unit++) n /= 1000;
  return `${n >= 100 || unit === 0 ? Math.round(n) : n.toFixed(1)} ${UNITS[unit]}`;
}

export class Picker extends EventTarget {
  /** Sends the events "chosen" and "trouble", whose detail is an error. */
  constructor({ button, name, menu, loading, words, bar }, server, session) {
    super();
    Object.assign(this, { button, name, menu, loading, words, bar, server, session });
    this.models = [];
    walkable(menu);
    button.addEventListener("click", () => this.#open());
    menu.addEventListener("toggle", (event) => {
      button.setAttribute("aria-expanded", String(event.newState === "open"));
    });
  }

  /** What is known of the model in use, or undefined. */
  get current() {
    return this.models.find(({ id }) => id === this.session.modelName);
  }

  /** Asks for the list; chooses a model where none is chosen or the one that was is gone. */
  async refresh() {
    this.models = await this.server.models();
    const known = (id) => this.models.some((model) => model.id === id);
    if (!known(this.session.model)) {
      const first = this.models.find(({ status }) => status === "loaded") ?? this.models[0];
      this.session.model = first?.id ?? null;
    }
    const { chat } = this.session.open;
    if (chat.model && !known(chat.model)) chat.model = undefined;
    this.draw();
  }

  draw() {
    this.name.textContent = this.session.modelName ?? "No model";
  }

  async #open() {
    this.#drawMenu();
    this.menu.showPopover();
    place(this.menu, this.button);
    (this.menu.querySelector("[aria-checked=true]") ?? this.menu.querySelector("button"))?.focus();
    try {
      await this.refresh();
    } catch (error) {
      this.dispatchEvent(new CustomEvent("trouble", { detail: error }));
      return;
    }
    const focused = document.activeElement?.dataset.model;
    this.#drawMenu();
    this.menu.querySelector(`[data-model="${CSS.escape(focused ?? "")}"]`)?.focus();
  }

  #drawMenu() {
    const rows = this.models.map((model) => this.#row(model));
    const none = el("p", { class: "empty" }, "No models. Drop a GGUF file on the page, or “qrt pull” one.");
    this.menu.replaceChildren(...(rows.length ? rows : [none]));
  }

  #row(model) {
    const isChosen = model.id === this.session.modelName;
    const facts = [model.size ? byteSize(model.size) : "", STATUS[model.status] ?? model.status];
    const choose = el(
      "button",
      {
        type: "button",
        class: "menu-item model",
        role: "menuitemradio",
        "aria-checked": String(isChosen),
        "data-model": model.id,
        onclick: () => {
          this.menu.hidePopover();
          this.choose(model.id);
        },
      },
      el("span", { class: `dot ${model.status === "loaded" ? "on" : ""}` }),
      el("span", { class: "model-name" }, model.id),
      el("span", { class: "facts" }, facts.filter(Boolean).join(" · ")),
      isChosen ? icon("check") : null,
    );
    const canUnload = model.status === "loaded" && this.models.length > 1;
    const unload = canUnload ? iconButton("eject", `Unload ${model.id}`, () => this.#unload(model.id)) : null;
    return el("div", { class: "model-row", role: "none" }, choose, unload);
  }

  async #unload(id) {
    try {
      await this.server.unload(id);
      await this.refresh();
      this.#drawMenu();
    } catch (error) {
      this.dispatchEvent(new CustomEvent("trouble", { detail: error }));
    }
  }

  /** Chooses a model for the open conversation and those to come, and has it loaded. */
  async choose(id) {
    await this.session.setModel(id);
    this.draw();
    await this.prepare();
  }

  /** Has the model in use loaded, if it is not. */
  async prepare() {
    if (this.current && this.current.status !== "loaded") await this.#load(this.current.id);
    this.dispatchEvent(new Event("chosen"));
  }

  async #load(id) {
    this.progress(`Loading ${id}`, Number.NaN);
    try {
      await this.server.load(id, ({ stage, share }) => {
        this.progress(stage ? `Loading ${id}: ${stage}` : `Loading ${id}`, share);
      });
      await this.refresh();
    } catch (error) {
      this.dispatchEvent(new CustomEvent("trouble", { detail: error }));
    } finally {
      this.progress("");
    }
  }

  /** Shows how far something is, a share of 1, or that it goes on; "" hides it. */
  progress(words, share = Number.NaN) {
    this.loading.hidden = !words;
    this.words.textContent = Number.isFinite(share) ? `${words} · ${Math.floor(share * 100)} %` : words;
    if (Number.isFinite(share)) this.bar.value = share;
    else this.bar.removeAttribute("value");
  }
}
