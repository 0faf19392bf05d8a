// The conversation that is open, and answers that are being written in this or another one.

import { nLeftOut, requestBody } from "./prompt.js";
import { children, leafBelow, newId, pathTo } from "./tree.js";

const SAVE_MS = 2000;
const TITLE_LENGTH = 60;
const TRIES = 8;
/** What share of the context a conversation may take, at each try less; the answer needs the rest. */
const ROOM = 0.65;

const titleOf = (text) => {
  const line = text.trim().split("\n", 1)[0].replace(/^[#>*\s]+/, "");
  return line.length > TITLE_LENGTH ? `${line.slice(0, TITLE_LENGTH).trimEnd()}…` : line;
};

/** One conversation in memory: its record, its messages by id, the answer that is being written. */
class Conversation {
  constructor(chat, messages) {
    this.chat = chat;
    this.messages = new Map(messages.map((message) => [message.id, message]));
    this.run = null;
  }

  get path() {
    return pathTo(this.messages, this.chat.leaf);
  }
}

/** Sends the events "opened", "path", "text", "ended", "chats" to whoever shows them. */
export class Session extends EventTarget {
  constructor(store, server) {
    super();
    this.store = store;
    this.server = server;
    this.running = new Map();
    this.model = null;
    this.open = new Conversation(this.#newChat(), []);
  }

  #newChat(settings = {}) {
    const now = Date.now();
    return { id: newId(), title: "", created: now, updated: now, leaf: null, settings };
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  get isKept() {
    return this.open.messages.size > 0;
  }

  get isRunning() {
    return this.open.run !== null;
  }

  get modelName() {
    return this.open.chat.model ?? this.model;
  }

  /** Opens a kept conversation, or a new one without id; false if there is none of this id. */
  async show(id) {
    if (id && id === this.open.chat.id) return true;
    const entry = this.running.get(id);
    if (entry) {
      this.open = entry;
    } else if (id) {
      const chat = await this.store.chat(id);
      if (!chat) return false;
      this.open = new Conversation(chat, await this.store.messages(id));
    } else {
      this.open = new Conversation(this.#newChat(), []);
    }
    this.#tell("opened");
    return true;
  }

  /** Says something and has it answered. */
  async send(text, attachments = []) {
    await this.#say(this.open, this.open.chat.leaf, text, attachments);
  }

  /** Says something else in place of a message, beside which it stands from then on. */
  async edit(id, text) {
    const { parent, attachments } = this.open.messages.get(id);
    await this.#say(this.open, parent, text, attachments);
  }

  /** Has a message answered once more; a try of which nothing came is forgotten. */
  async regenerate(id) {
    const { messages } = this.open;
    const { parent, error, text, thought } = messages.get(id);
    if (error && !text && !thought && !children(messages, id).length && !this.isRunning) {
      messages.delete(id);
      await this.store.forget(id);
    }
    await this.#answer(this.open, parent);
  }

  /** Shows the try before or after a message. */
  async choose(id, step) {
    const { chat, messages } = this.open;
    const siblings = children(messages, messages.get(id).parent);
    const at = siblings.findIndex((message) => message.id === id);
    const other = siblings[at + step];
    if (!other || this.isRunning) return;
    chat.leaf = leafBelow(messages, other.id);
    await this.store.putChat(chat);
    this.#tell("path");
  }

  /** The place of a message among its tries: `[at, of]`, from 1. */
  placeOf(message) {
    const siblings = children(this.open.messages, message.parent);
    return [siblings.findIndex(({ id }) => id === message.id) + 1, siblings.length];
  }

  stop() {
    this.open.run?.abort();
  }

  /** Sets options of the open conversation. */
  async set(settings) {
    Object.assign(this.open.chat.settings, settings);
    if (this.isKept) await this.store.putChat(this.open.chat);
  }

  async setModel(model) {
    this.open.chat.model = model;
    this.model = model;
    if (this.isKept) await this.store.putChat(this.open.chat);
  }

  async rename(id, title) {
    const running = this.running.get(id)?.chat;
    const chat = id === this.open.chat.id ? this.open.chat : (running ?? (await this.store.chat(id)));
    chat.title = title.trim() || chat.title;
    await this.store.putChat(chat);
    this.#tell("chats");
  }

  /** Deletes a conversation; what puts it back. */
  async remove(id) {
    this.running.get(id)?.run?.abort();
    const entry = await this.store.remove(id);
    if (id === this.open.chat.id) await this.show(null);
    this.#tell("chats");
    return async () => {
      await this.store.putAll([entry]);
      this.#tell("chats");
    };
  }

  async #say(conversation, parent, text, attachments) {
    if (conversation.run) return;
    const { chat, messages } = conversation;
    const message = { id: newId(), chat: chat.id, parent, role: "user", text, created: Date.now() };
    if (attachments?.length) message.attachments = attachments;
    messages.set(message.id, message);
    chat.title ||= titleOf(text) || attachments[0]?.name || "";
    chat.leaf = message.id;
    await this.store.putMessage(message);
    await this.#answer(conversation, message.id);
  }

  async #answer(conversation, parent) {
    if (conversation.run) return;
    const { chat, messages } = conversation;
    const message = { id: newId(), chat: chat.id, parent, role: "assistant", text: "", created: Date.now() };
    if (this.modelName) message.model = this.modelName;
    if (chat.settings.schema) message.isJson = true;
    messages.set(message.id, message);
    chat.leaf = message.id;
    chat.updated = Date.now();
    conversation.run = new AbortController();
    this.running.set(chat.id, conversation);
    await this.store.putChat(chat);
    this.#tell("path", { begun: true });
    this.#tell("chats");
    await this.#write(conversation, message, pathTo(messages, parent));
    message.ended = Date.now();
    conversation.run = null;
    this.running.delete(chat.id);
    if (await this.store.chat(chat.id)) await this.store.putMessage(message);
    if (conversation === this.open) this.#tell("ended", { message });
  }

  /** Reads an answer into its message; whatever goes wrong stands in the message. */
  async #write(conversation, message, path) {
    try {
      for (let tries = 1; ; tries++) {
        try {
          await this.#read(conversation, message, path.slice(message.leftOut ?? 0));
          return;
        } catch (error) {
          if (error.kind !== "context" || tries === TRIES) throw error;
          const { used, size } = error.context;
          const share = (used && size ? size / used : 1) * ROOM ** tries;
          const nOut = nLeftOut(path, share);
          if (nOut <= (message.leftOut ?? 0)) throw error;
          message.leftOut = nOut;
        }
      }
    } catch (error) {
      if (conversation.run.signal.aborted) message.stopped = true;
      else message.error = { words: error.message, kind: error.kind ?? "failed", detail: error.detail ?? "" };
    }
  }

  async #read(conversation, message, path) {
    const { chat, run } = conversation;
    const body = requestBody(path, chat.settings, message.model);
    let saved = Date.now();
    let first = 0;
    let nChunks = 0;
    for await (const chunk of this.server.chat(body, run.signal)) {
      const choice = chunk.choices?.[0];
      const delta = choice?.delta ?? {};
      if (delta.content || delta.reasoning_content || delta.tool_calls) {
        first ||= performance.now();
        nChunks++;
      }
      if (delta.reasoning_content) {
        message.thought = (message.thought ?? "") + delta.reasoning_content;
        message.thinkingSince ??= Date.now();
      }
      if (delta.content) {
        if (message.thought && !message.text) message.thoughtMs = Date.now() - message.thinkingSince;
        message.text += delta.content;
      }
      for (const call of delta.tool_calls ?? []) addCall(message, call);
      if (choice?.finish_reason) message.finish = choice.finish_reason;
      const seconds = (performance.now() - first) / 1000;
      message.stats = statsOf(chunk, message.stats, nChunks, seconds);
      if (conversation === this.open) this.#tell("text", { message });
      if (Date.now() - saved > SAVE_MS) {
        saved = Date.now();
        await this.store.putMessage(message);
      }
    }
  }
}

function addCall(message, { index, function: called = {} }) {
  message.calls ??= [];
  const call = (message.calls[Number(index) | 0] ??= { name: "", text: "" });
  call.name += called.name ?? "";
  call.text += called.arguments ?? "";
}

/** Tokens and speed as far as they are known: as the server told them, else as counted here. */
function statsOf({ usage, timings }, before, nChunks, seconds) {
  const stats = { ...before };
  if (!stats.isTold) {
    stats.tokens = nChunks;
    if (nChunks > 1 && seconds > 0.1) stats.perSecond = (nChunks - 1) / seconds;
  }
  if (usage) {
    stats.tokens = usage.completion_tokens;
    stats.used = usage.total_tokens;
    stats.isTold = true;
  }
  if (timings?.predicted_per_second) {
    stats.tokens = timings.predicted_n;
    stats.perSecond = timings.predicted_per_second;
    stats.isTold = true;
  }
  return stats;
}
