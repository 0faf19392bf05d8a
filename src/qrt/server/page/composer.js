// The box in which messages are written, with the files that go along.

import { el, icon, iconButton } from "./dom.js";

const MAX_FILE_BYTES = 2_000_000;

/** The text of a file; raises Error, in words, if it is too long or no text. */
export async function textOf(file) {
  if (file.size > MAX_FILE_BYTES) throw new Error(`${file.name} is larger than 2 MB.`);
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    if (!text.includes("\0")) return text;
  } catch {
    // falls through: it is no UTF-8
  }
  throw new Error(`${file.name} is not a text file.`);
}

export class Composer extends EventTarget {
  /** Sends the events "send" with `{ text, attachments }`, "stop", "change", "trouble". */
  constructor({ form, box, chips, send, stop, attach }) {
    super();
    Object.assign(this, { form, box, chips, send, stop });
    this.attachments = [];
    this.isBusy = false;
    box.addEventListener("input", () => this.#changed());
    box.addEventListener("keydown", (event) => this.#key(event));
    box.addEventListener("paste", (event) => this.#paste(event));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    form.addEventListener("click", (event) => {
      if (event.target === form || event.target.classList.contains("composer-row")) box.focus();
    });
    stop.addEventListener("click", () => this.dispatchEvent(new Event("stop")));
    const chooser = el("input", { type: "file", multiple: true, hidden: true, id: "files" });
    chooser.addEventListener("change", async () => {
      await this.add(chooser.files);
      chooser.value = "";
    });
    form.append(chooser);
    attach.addEventListener("click", () => chooser.click());
    this.#changed();
  }

  get text() {
    return this.box.value;
  }

  focus() {
    this.box.focus();
  }

  /** Whether an answer is being written: then there is a stop in place of a send. */
  setBusy(isBusy) {
    const hadFocus = document.activeElement === this.stop;
    this.isBusy = isBusy;
    this.send.hidden = isBusy;
    this.stop.hidden = !isBusy;
    if (hadFocus && !isBusy) this.focus();
  }

  /** Attaches files; what cannot be is told by "trouble". */
  async add(files) {
    for (const file of files) {
      try {
        this.attachments.push({ name: file.name, text: await textOf(file) });
      } catch (error) {
        this.dispatchEvent(new CustomEvent("trouble", { detail: error.message }));
      }
    }
    this.#drawChips();
    this.focus();
  }

  submit() {
    const text = this.box.value.trim();
    if (this.isBusy || (!text && !this.attachments.length)) return;
    const attachments = this.attachments;
    this.box.value = "";
    this.attachments = [];
    this.#drawChips();
    this.dispatchEvent(new CustomEvent("send", { detail: { text, attachments } }));
  }

  #key(event) {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.submit();
    } else if (event.key === "ArrowUp" && !this.box.value) {
      event.preventDefault();
      this.dispatchEvent(new Event("edit-last"));
    }
  }

  #paste(event) {
    const files = [...event.clipboardData.files];
    if (!files.length) return;
    event.preventDefault();
    this.add(files);
  }

  #drawChips() {
    this.chips.replaceChildren(
      ...this.attachments.map((file, i) =>
        el(
          "span",
          { class: "chip" },
          icon("file"),
          el("span", { class: "chip-name" }, file.name),
          iconButton("close", `Remove ${file.name}`, () => {
            this.attachments.splice(i, 1);
            this.#drawChips();
            this.focus();
          }),
        ),
      ),
    );
    this.#changed();
  }

  #changed() {
    this.box.style.height = "auto";
    this.box.style.height = `${this.box.scrollHeight}px`;
    this.send.disabled = !this.box.value.trim() && !this.attachments.length;
    this.dispatchEvent(new Event("change"));
  }
}
