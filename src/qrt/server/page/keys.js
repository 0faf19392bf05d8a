// The keyboard: what each key does, as the help shows it and as it is done.

/** keys as shown; words; for those of the whole page: key, with Ctrl or Command, and what is done. */
export const SHORTCUTS = [
  { keys: "Enter", words: "Send" },
  { keys: "Shift Enter", words: "New line" },
  { keys: "↑", words: "Edit the last question, in an empty box" },
  { keys: "Esc", words: "Stop the answer, or close what is open", key: "Escape", does: "stop", inText: true },
  { keys: "Ctrl K", words: "Search conversations", key: "k", ctrl: true, does: "search" },
  { keys: "/", words: "To the message box", key: "/", does: "focus" },
  { keys: "Ctrl Shift O", words: "New conversation", key: "o", ctrl: true, shift: true, does: "fresh" },
  { keys: "Ctrl B", words: "Show or hide conversations", key: "b", ctrl: true, does: "sidebar" },
  { keys: "Ctrl ,", words: "Settings of the conversation", key: ",", ctrl: true, does: "panel" },
  { keys: "?", words: "This help", key: "?", does: "help" },
];

const isText = (target) => target.matches?.("input, textarea, select, [contenteditable]");

/** Listens for the keys of the whole page; does: a function for each name. */
export function listen(does) {
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.defaultPrevented || event.altKey) return;
    const hasCtrl = event.ctrlKey || event.metaKey;
    const found = SHORTCUTS.find(
      ({ key, ctrl = false, shift }) =>
        key && key === (key.length === 1 ? event.key.toLowerCase() : event.key) &&
        ctrl === hasCtrl && (shift === undefined ? !ctrl || !event.shiftKey : shift === event.shiftKey),
    );
    if (!found || document.querySelector("dialog[open], [popover]:popover-open")) return;
    if (!found.ctrl && !found.inText && isText(event.target)) return;
    event.preventDefault();
    does[found.does]();
  });
}
