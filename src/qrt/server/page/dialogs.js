// The prompt for an API key, and the help.

import { el } from "./dom.js";
import { SHORTCUTS } from "./keys.js";

const WANTED = "This server wants a key. It is kept until this tab is closed.";
const WRONG = "That key is not right. This server wants another.";

/** Shows a dialog until it is closed; done then. */
function shown(dialog) {
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue);
    });
  });
}

/** Asks for the server's API key; null where none is given. */
export async function askForKey(wasWrong) {
  const box = el("input", {
    type: "password",
    id: "key",
    autocomplete: "off",
    required: true,
    "aria-describedby": "key-help",
  });
  const dialog = el(
    "dialog",
    { "aria-labelledby": "key-title" },
    el(
      "form",
      { method: "dialog" },
      el("h2", { id: "key-title" }, "API key"),
      el("p", { id: "key-help" }, wasWrong ? WRONG : WANTED),
      box,
      el(
        "div",
        { class: "editor-row" },
        el("button", { type: "button", class: "button", onclick: () => dialog.close("") }, "Cancel"),
        el("button", { type: "submit", class: "button primary", value: "given" }, "Use key"),
      ),
    ),
  );
  const how = await shown(dialog);
  return how === "given" ? box.value : null;
}

const keyed = (keys) => keys.split(" ").map((key) => el("kbd", {}, key));

/** Shows what the keys do. */
export async function showHelp() {
  if (document.querySelector("dialog[open]")) return;
  const rows = SHORTCUTS.map(({ keys, words }) =>
    el("div", {}, el("dt", {}, ...keyed(keys)), el("dd", {}, words)),
  );
  const dialog = el(
    "dialog",
    { class: "help-sheet", "aria-labelledby": "help-title" },
    el(
      "form",
      { method: "dialog" },
      el("h2", { id: "help-title" }, "Keyboard"),
      el("dl", {}, ...rows),
      el("h2", {}, "Good to know"),
      el(
        "ul",
        {},
        el("li", {}, "Editing a question or asking for another answer keeps what was there: ‹ 1 / 2 › switches."),
        el("li", {}, "Drop a text file on the page to ask about it, or a GGUF file to use it as a model."),
        el("li", {}, "Conversations are kept in this browser alone. Export them to take them along."),
      ),
      el("div", { class: "editor-row" }, el("button", { class: "button primary" }, "Close")),
    ),
  );
  await shown(dialog);
}
