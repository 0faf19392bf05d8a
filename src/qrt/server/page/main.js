// The page: its parts are made here and told of each other.

import { Composer } from "./composer.js";
import { askForKey, showHelp } from "./dialogs.js";
import { byId, el } from "./dom.js";
import { dropzone } from "./drop.js";
import { keep, recall } from "./keep.js";
import { listen } from "./keys.js";
import { Memory } from "./memory.js";
import { Meter } from "./meter.js";
import { notify, say } from "./notices.js";
import { Panel } from "./panel.js";
import { Picker } from "./picker.js";
import { Server } from "./server.js";
import { Session } from "./session.js";
import { Sidebar } from "./sidebar.js";
import { openStore } from "./store.js";
import { themeButton } from "./theme.js";
import { Thread } from "./thread.js";
import { exported, imported } from "./transfer.js";

const NARROW = matchMedia("(max-width: 56rem)");
const root = document.documentElement;

/** The browser's store, or one that ends with the tab where the browser keeps nothing. */
async function openedStore() {
  try {
    return await openStore();
  } catch {
    notify("This browser keeps nothing: conversations end with this tab. Export what you need.");
    return new Memory();
  }
}

const store = await openedStore();
const server = new Server(askForKey);
const session = new Session(store, server);
session.model = recall("qrt.model");

const composer = new Composer({
  form: byId("composer"),
  box: byId("box"),
  chips: byId("chips"),
  send: byId("send"),
  stop: byId("stop"),
  attach: byId("attach"),
});
const thread = new Thread(
  { scroller: byId("scroller"), list: byId("thread"), welcome: byId("welcome"), latest: byId("latest") },
  {
    regenerate: (id) => session.regenerate(id),
    edit: (id, text) => session.edit(id, text),
    choose: (id, step) => session.choose(id, step),
    placeOf: (message) => session.placeOf(message),
    isRunning: (message) => session.isRunning && session.open.chat.leaf === message.id,
  },
);
const panel = new Panel(byId("panel"), session, byId("show-panel"));
const picker = new Picker(
  {
    button: byId("picker"),
    name: byId("picker-name"),
    menu: byId("models"),
    loading: byId("loading"),
    words: byId("loading-words"),
    bar: byId("loading-bar"),
  },
  server,
  session,
);
const meter = new Meter(byId("meter"), session, composer, async (content) =>
  picker.current?.status === "loaded"
    ? server.countTokens(content, session.modelName)
    : Math.ceil(content.length / 4),
);
const sidebar = new Sidebar({ list: byId("chats"), search: byId("search") }, session, {
  export: (id) => exported(store, [id]),
  removed: (undo, title) => notify(`Deleted “${title}”.`, { words: "Undo", does: undo }),
});

server.onLoading = () => picker.progress("Loading the model");

/** What the server says of the model in use, if it is loaded: its context, its defaults. */
async function learn() {
  meter.setSize(picker.current?.nCtx ?? 0);
  if (picker.current?.status !== "loaded") return;
  const props = await server.props(session.modelName);
  const usual = props.default_generation_settings;
  meter.setSize(usual.n_ctx);
  panel.setDefaults(usual.params);
}

async function connect() {
  try {
    await picker.refresh();
    await learn();
    picker.progress("");
  } catch (error) {
    notify(error.message, { words: "Retry", does: connect });
  }
}

function showSidebar(isShown) {
  if (NARROW.matches) {
    root.classList.toggle("drawer", isShown);
  } else {
    root.dataset.sidebar = isShown ? "shown" : "hidden";
    keep("qrt.sidebar", root.dataset.sidebar);
  }
}

const isSidebarShown = () => (NARROW.matches ? root.classList.contains("drawer") : root.dataset.sidebar !== "hidden");

/** Opens the conversation that the address names. */
async function follow() {
  const id = location.hash.slice(1);
  if (!(await session.show(id || null))) location.hash = "";
}

function fresh() {
  if (location.hash) location.hash = "";
  else session.show(null);
  showSidebar(!NARROW.matches && isSidebarShown());
  composer.focus();
}

function title() {
  const name = session.open.chat.title;
  document.title = name ? `${name} · qrt` : "qrt";
}

session.addEventListener("opened", () => {
  thread.show(session.open.path);
  thread.toEnd();
  composer.setBusy(session.isRunning);
  picker.draw();
  meter.draw();
  panel.draw();
  sidebar.draw();
  title();
  if (NARROW.matches) showSidebar(false);
});
session.addEventListener("path", ({ detail }) => {
  thread.show(session.open.path);
  composer.setBusy(session.isRunning);
  if (!detail?.begun) return;
  thread.toEnd();
  say("Answering.");
  title();
  if (location.hash.slice(1) !== session.open.chat.id) {
    history.pushState(null, "", `#${session.open.chat.id}`);
  }
});
session.addEventListener("text", ({ detail }) => thread.grow(detail.message));
session.addEventListener("ended", ({ detail: { message } }) => {
  const words = thread.end(message);
  composer.setBusy(false);
  meter.draw();
  sidebar.draw();
  say(message.error ? message.error.words : message.stopped ? "Stopped." : words);
});
session.addEventListener("chats", () => {
  sidebar.draw();
  title();
});

composer.addEventListener("send", ({ detail }) => {
  session.send(detail.text, detail.attachments);
  if (picker.current?.status !== "loaded") picker.prepare();
});
composer.addEventListener("stop", () => session.stop());
composer.addEventListener("edit-last", () => thread.editLast());
composer.addEventListener("trouble", ({ detail }) => notify(detail));
picker.addEventListener("trouble", ({ detail }) => notify(detail.message));
picker.addEventListener("chosen", () => {
  if (session.model) keep("qrt.model", session.model);
  learn().catch((error) => notify(error.message));
});

/** Puts a GGUF file into the server's store and takes it as the model. */
async function upload(file) {
  try {
    picker.progress(`Copying ${file.name}`, 0);
    const model = await server.upload(file, (share) => picker.progress(`Copying ${file.name}`, share));
    picker.progress("");
    await picker.refresh();
    await picker.choose(String(model?.id ?? file.name));
  } catch (error) {
    picker.progress("");
    notify(error.message);
  }
}

dropzone(byId("drop"), async (texts, models) => {
  await composer.add(texts);
  for (const file of models) await upload(file);
});

const chooser = el("input", { type: "file", accept: ".json,application/json", hidden: true, id: "import-file" });
document.body.append(chooser);
chooser.addEventListener("change", async () => {
  try {
    const n = await imported(store, chooser.files[0]);
    notify(n === 1 ? "One conversation was added." : `${n} conversations were added.`);
    await sidebar.draw();
  } catch (error) {
    notify(error.message);
  }
  chooser.value = "";
});

byId("import").addEventListener("click", () => chooser.click());
byId("export").addEventListener("click", () => exported(store));
byId("help").addEventListener("click", showHelp);
byId("new-chat").addEventListener("click", fresh);
byId("hide-sidebar").addEventListener("click", () => showSidebar(false));
byId("show-sidebar").addEventListener("click", () => showSidebar(true));
byId("veil").addEventListener("click", () => showSidebar(false));
themeButton(byId("theme"));
listen({
  stop: () => (isSidebarShown() && NARROW.matches ? showSidebar(false) : session.stop()),
  search: () => {
    showSidebar(true);
    byId("search").focus();
    byId("search").select();
  },
  focus: () => composer.focus(),
  fresh,
  sidebar: () => showSidebar(!isSidebarShown()),
  panel: () => panel.toggle(),
  help: showHelp,
});
addEventListener("hashchange", follow);
addEventListener("focus", () => sidebar.draw());

await follow();
if (!session.isKept) sidebar.draw();
root.dataset.ready = "";
await connect();
