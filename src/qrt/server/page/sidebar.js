// The list of conversations: by day, found by words, renamed, exported, deleted.

import { el, icon, iconButton, place, walkable } from "./dom.js";

const DAY_MS = 86_400_000;
const WAIT_MS = 120;

/** The heading under which a conversation of that time stands. */
function groupOf(time, now) {
  const today = new Date(now).setHours(0, 0, 0, 0);
  if (time >= today) return "Today";
  if (time >= today - DAY_MS) return "Yesterday";
  return time >= today - 7 * DAY_MS ? "Last 7 days" : "Earlier";
}

/** A text with the first place where the words stand marked. */
function marked(text, words) {
  const at = words ? text.toLowerCase().indexOf(words.toLowerCase()) : -1;
  if (at < 0) return [text];
  const end = at + words.length;
  return [text.slice(0, at), el("mark", {}, text.slice(at, end)), text.slice(end)];
}

export class Sidebar {
  /** does: what happens on export(id), removed(undo, title). */
  constructor({ list, search }, session, does) {
    Object.assign(this, { list, search, session, does });
    this.timer = 0;
    this.menu = el("div", { class: "menu", popover: "auto", role: "menu" });
    walkable(this.menu);
    document.body.append(this.menu);
    search.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.draw(), WAIT_MS);
    });
    search.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && search.value) {
        event.stopPropagation();
        search.value = "";
        this.draw();
      } else if (event.key === "Enter" || event.key === "ArrowDown") {
        event.preventDefault();
        const first = list.querySelector("a");
        if (event.key === "Enter") first?.click();
        else first?.focus();
      }
    });
    list.addEventListener("keydown", (event) => this.#walk(event));
  }

  async draw() {
    const words = this.search.value.trim();
    const chats = await this.session.store.chats();
    const hits = words ? await this.session.store.find(words) : null;
    const shown = hits ? chats.filter(({ id }) => hits.has(id)) : chats;
    const groups = new Map();
    for (const chat of shown) {
      const name = groupOf(chat.updated, Date.now());
      groups.set(name, [...(groups.get(name) ?? []), chat]);
    }
    const nodes = [];
    for (const [name, members] of groups) {
      nodes.push(el("h2", {}, name));
      nodes.push(el("ul", {}, ...members.map((chat) => this.#row(chat, words, hits?.get(chat.id)))));
    }
    if (!nodes.length) {
      nodes.push(el("p", { class: "empty" }, words ? "Nothing found." : "No conversations yet."));
    }
    this.list.replaceChildren(...nodes);
  }

  #row(chat, words, snippet) {
    const isOpen = chat.id === this.session.open.chat.id;
    const title = el("span", { class: "chat-title" }, ...marked(chat.title || "Untitled", words));
    const link = el(
      "a",
      { href: `#${chat.id}`, "aria-current": isOpen ? "page" : null },
      title,
      snippet ? el("span", { class: "snippet" }, ...marked(snippet, words)) : null,
    );
    const dots = iconButton("dots", `More for ${chat.title || "Untitled"}`, () => this.#openMenu(chat, row, dots), {
      "aria-haspopup": "menu",
    });
    const row = el("li", { class: this.session.running.has(chat.id) ? "chat running" : "chat" }, link, dots);
    return row;
  }

  #walk(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || event.target.tagName !== "A") return;
    event.preventDefault();
    const links = [...this.list.querySelectorAll("a")];
    const next = links[links.indexOf(event.target) + step];
    (next ?? (step < 0 ? this.search : null))?.focus();
  }

  #openMenu(chat, row, button) {
    const entry = (name, words, action, kind = "") =>
      el(
        "button",
        {
          type: "button",
          class: `menu-item ${kind}`,
          role: "menuitem",
          onclick: () => {
            this.menu.hidePopover();
            action();
          },
        },
        icon(name),
        words,
      );
    this.menu.replaceChildren(
      entry("edit", "Rename", () => this.#rename(chat, row)),
      entry("export", "Export", () => this.does.export(chat.id)),
      entry("trash", "Delete", () => this.#remove(chat), "danger"),
    );
    this.menu.showPopover();
    place(this.menu, button);
    this.menu.querySelector("button").focus();
  }

  #rename(chat, row) {
    const box = el("input", { class: "rename", "aria-label": "Title", maxlength: "200" });
    box.value = chat.title;
    let isDone = false;
    const finish = async (isKept) => {
      if (isDone) return;
      isDone = true;
      if (isKept && box.value.trim()) await this.session.rename(chat.id, box.value);
      await this.draw();
    };
    box.addEventListener("blur", () => finish(true));
    box.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter") finish(true);
      if (event.key === "Escape") finish(false);
    });
    row.replaceChildren(box);
    box.focus();
    box.select();
  }

  async #remove(chat) {
    const undo = await this.session.remove(chat.id);
    this.does.removed(undo, chat.title || "Untitled");
  }
}
