// Conversations and their messages where the browser keeps nothing: as in store.js, until the end.

import { Hits } from "./store.js";

export class Memory {
  constructor() {
    this.kept = new Map();
    this.said = new Map();
  }

  async chats() {
    return [...this.kept.values()].sort((a, b) => b.updated - a.updated);
  }

  async chat(id) {
    return this.kept.get(id);
  }

  async messages(chatId) {
    return [...this.said.values()].filter(({ chat }) => chat === chatId);
  }

  async putChat(chat) {
    this.kept.set(chat.id, chat);
  }

  async putMessage(message) {
    this.said.set(message.id, message);
  }

  async forget(messageId) {
    this.said.delete(messageId);
  }

  async putAll(entries) {
    for (const { chat, messages } of entries) {
      this.kept.set(chat.id, chat);
      for (const message of messages) this.said.set(message.id, message);
    }
  }

  async remove(chatId) {
    const entry = { chat: this.kept.get(chatId), messages: await this.messages(chatId) };
    this.kept.delete(chatId);
    for (const { id } of entry.messages) this.said.delete(id);
    return entry;
  }

  async find(words) {
    const hits = new Hits(words, await this.chats());
    for (const message of this.said.values()) hits.look(message);
    return hits.found;
  }
}
