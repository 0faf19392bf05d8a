// Conversations and their messages in IndexedDB.

const NAME = "qrt";
const VERSION = 1;

/** The answer of a request of IndexedDB. */
function answered(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Done when everything of a transaction is on the disk. */
function finished(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

/** Opens the store; rejects where the browser keeps nothing, as in some private windows. */
export async function openStore() {
  const request = indexedDB.open(NAME, VERSION);
  request.onupgradeneeded = () => {
    request.result.createObjectStore("chats", { keyPath: "id" });
    const messages = request.result.createObjectStore("messages", { keyPath: "id" });
    messages.createIndex("chat", "chat");
  };
  return new Store(await answered(request));
}

class Store {
  constructor(db) {
    this.db = db;
  }

  #of(name, mode = "readonly") {
    return this.db.transaction(name, mode).objectStore(name);
  }

  /** All conversations, without their messages, the last used first. */
  async chats() {
    const chats = await answered(this.#of("chats").getAll());
    return chats.sort((a, b) => b.updated - a.updated);
  }

  chat(id) {
    return answered(this.#of("chats").get(id));
  }

  messages(chatId) {
    return answered(this.#of("messages").index("chat").getAll(chatId));
  }

  putChat(chat) {
    return answered(this.#of("chats", "readwrite").put(chat));
  }

  putMessage(message) {
    return answered(this.#of("messages", "readwrite").put(message));
  }

  forget(messageId) {
    return answered(this.#of("messages", "readwrite").delete(messageId));
  }

  /** Writes whole conversations, all or none. */
  putAll(entries) {
    const transaction = this.db.transaction(["chats", "messages"], "readwrite");
    for (const { chat, messages } of entries) {
      transaction.objectStore("chats").put(chat);
      for (const message of messages) transaction.objectStore("messages").put(message);
    }
    return finished(transaction);
  }

  /** Deletes a conversation; what it was, so that it can be put back. */
  async remove(chatId) {
    const entry = { chat: await this.chat(chatId), messages: await this.messages(chatId) };
    const transaction = this.db.transaction(["chats", "messages"], "readwrite");
    transaction.objectStore("chats").delete(chatId);
    const messages = transaction.objectStore("messages");
    for (const message of entry.messages) messages.delete(message.id);
    await finished(transaction);
    return entry;
  }

  /** The text around the first hit in each conversation that has the words, by its id. */
  async find(words) {
    const hits = new Hits(words, await this.chats());
    await new Promise((resolve, reject) => {
      const request = this.#of("messages").openCursor();
      request.onerror = () => reject(request.error);
      request.onsuccess = () => {
        const cursor = request.result;
        if (!cursor) return resolve();
        hits.look(cursor.value);
        cursor.continue();
        return undefined;
      };
    });
    return hits.found;
  }
}

/** What a search has found: the text around a hit by the conversation, "" for one in its title. */
export class Hits {
  constructor(words, chats) {
    this.wanted = words.toLowerCase();
    const named = chats.filter(({ title }) => title.toLowerCase().includes(this.wanted));
    this.found = new Map(named.map(({ id }) => [id, ""]));
  }

  look({ chat, text }) {
    const at = text.toLowerCase().indexOf(this.wanted);
    if (at >= 0 && !this.found.get(chat)) this.found.set(chat, around(text, at, this.wanted.length));
  }
}

function around(text, at, length) {
  const from = Math.max(0, at - 24);
  const cut = text.slice(from, at + length + 60).replace(/\s+/g, " ");
  return from > 0 ? `…${cut}` : cut;
}
