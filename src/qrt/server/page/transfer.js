// Conversations out to a JSON file, and in from one, whose contents are checked.

import { el } from "./dom.js";
import { newId } from "./tree.js";

const FORMAT = "qrt-conversations";
const VERSION = 1;
const ROLES = ["user", "assistant"];

const isText = (value) => typeof value === "string";
const isTime = (value) => Number.isFinite(value);
const isRecord = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** Has the browser save a text as a file. */
function save(name, text) {
  const href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const link = el("a", { href, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}

/** Saves the conversations of these ids, or all. */
export async function exported(store, ids = null) {
  const chats = (await store.chats()).filter(({ id }) => !ids || ids.includes(id));
  const conversations = [];
  for (const chat of chats) conversations.push({ chat, messages: await store.messages(chat.id) });
  const day = new Date().toISOString().slice(0, 10);
  save(`qrt-${day}.json`, JSON.stringify({ format: FORMAT, version: VERSION, conversations }, null, 1));
}

/** A message of a file, with only what is known and of the right kind. */
function checkedMessage(given, ids, chatId) {
  const isGood = isRecord(given) && ROLES.includes(given.role) && isText(given.text) && isTime(given.created);
  if (!isGood) throw new Error("a message has no role, text or time");
  const message = {
    id: ids.get(given.id),
    chat: chatId,
    parent: ids.get(given.parent) ?? null,
    role: given.role,
    text: given.text,
    created: given.created,
    ended: isTime(given.ended) ? given.ended : given.created,
  };
  for (const name of ["thought", "model", "finish"]) if (isText(given[name])) message[name] = given[name];
  for (const name of ["stopped", "isJson"]) if (given[name] === true) message[name] = true;
  if (isTime(given.thoughtMs)) message.thoughtMs = given.thoughtMs;
  if (isRecord(given.stats)) {
    const { tokens, perSecond, used } = given.stats;
    message.stats = Object.fromEntries(Object.entries({ tokens, perSecond, used }).filter(([, n]) => isTime(n)));
  }
  if (Array.isArray(given.attachments)) {
    const files = given.attachments.filter((file) => isText(file?.name) && isText(file?.text));
    message.attachments = files.map(({ name, text }) => ({ name, text }));
  }
  return message;
}

function checkedSettings(given) {
  const settings = {};
  if (!isRecord(given)) return settings;
  for (const name of ["system", "schema", "think"]) if (isText(given[name])) settings[name] = given[name];
  if (isRecord(given.sampling)) {
    settings.sampling = Object.fromEntries(Object.entries(given.sampling).filter(([, n]) => isTime(n)));
  }
  return settings;
}

function checkedConversation(given) {
  const { chat, messages } = given ?? {};
  if (!isRecord(chat) || !isText(chat.title) || !Array.isArray(messages)) {
    throw new Error("a conversation has no title or messages");
  }
  const ids = new Map(messages.map((message) => [message?.id, newId()]));
  const id = newId();
  const checked = messages.map((message) => checkedMessage(message, ids, id));
  const now = Date.now();
  const leaf = ids.get(chat.leaf) ?? checked.at(-1)?.id ?? null;
  return {
    chat: {
      id,
      title: chat.title.slice(0, 200),
      created: isTime(chat.created) ? chat.created : now,
      updated: isTime(chat.updated) ? chat.updated : now,
      leaf,
      settings: checkedSettings(chat.settings),
    },
    messages: checked,
  };
}

/** Adds the conversations of a file; how many there were. Raises Error, in words. */
export async function imported(store, file) {
  let given;
  try {
    given = JSON.parse(await file.text());
  } catch {
    throw new Error(`${file.name} is not JSON.`);
  }
  if (given?.format !== FORMAT || given.version !== VERSION || !Array.isArray(given.conversations)) {
    throw new Error(`${file.name} has no conversations that were exported here.`);
  }
  let entries;
  try {
    entries = given.conversations.map(checkedConversation);
  } catch (error) {
    throw new Error(`${file.name} is damaged: ${error.message}.`);
  }
  await store.putAll(entries);
  return entries.length;
}
