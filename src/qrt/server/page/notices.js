// Short notices at the edge of the page, and what screen readers are told.

import { byId, el, iconButton } from "./dom.js";

const STAYS_MS = 8000;

/** Shows a notice, with one thing to do about it if there is one: `{ words, does }`. */
export function notify(text, action = null) {
  const dismiss = () => notice.remove();
  const button = action
    ? el("button", { type: "button", class: "link", onclick: () => (dismiss(), action.does()) }, action.words)
    : null;
  const notice = el("div", { class: "notice" }, el("p", {}, text), button, iconButton("close", "Dismiss", dismiss));
  byId("notices").replaceChildren(notice);
  setTimeout(dismiss, STAYS_MS);
}

/** Tells a screen reader something. */
export function say(text) {
  byId("said").textContent = text;
}
