// How much of the context a conversation takes, with what is being written.

import { contentOf } from "./prompt.js";

const WAIT_MS = 350;
const NEARLY_FULL = 0.85;

const grouped = (n) => n.toLocaleString("en");

export class Meter {
  /** count: a promise of how many tokens a text has. */
  constructor(element, session, composer, count) {
    Object.assign(this, { element, session, composer, count });
    this.words = element.querySelector(".meter-words");
    this.ring = element.querySelector(".ring-used");
    this.size = 0;
    this.written = 0;
    this.timer = 0;
    composer.addEventListener("change", () => this.#later());
  }

  /** Sets the tokens that the context has room for. */
  setSize(size) {
    this.size = size;
    this.draw();
  }

  #later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#count(), WAIT_MS);
  }

  async #count() {
    const content = contentOf({ text: this.composer.text, attachments: this.composer.attachments });
    try {
      this.written = content ? await this.count(content) : 0;
    } catch {
      this.written = 0; // the answer will say what is wrong
    }
    this.draw();
  }

  draw() {
    const told = this.session.open.path.findLast((message) => message.stats?.used);
    const used = (told?.stats.used ?? 0) + this.written;
    this.element.hidden = !this.size || !used;
    if (this.element.hidden) return;
    const share = Math.min(1, used / this.size);
    this.words.textContent = `${grouped(used)} / ${grouped(this.size)}`;
    this.ring.style.strokeDasharray = `${share * 100} 100`;
    this.element.classList.toggle("full", share > NEARLY_FULL);
    this.element.title = `${grouped(used)} of ${grouped(this.size)} tokens of context`;
    this.element.setAttribute("aria-valuenow", String(Math.min(used, this.size)));
    this.element.setAttribute("aria-valuemax", String(this.size));
    this.element.setAttribute("aria-valuetext", this.element.title);
  }
}
