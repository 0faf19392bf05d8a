// A conversation is a tree: each message names the one before it, and siblings are other tries.

/** An id that no other message has, also where a page has no `crypto.randomUUID`. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const byAge = (a, b) => a.created - b.created || (a.id < b.id ? -1 : 1);

/** The messages that follow `parent` (null: those that begin), the oldest first. */
export function children(messages, parent) {
  return [...messages.values()].filter((message) => message.parent === parent).sort(byAge);
}

/** The messages from the first to `leaf`. */
export function pathTo(messages, leaf) {
  const path = [];
  const seen = new Set();
  for (let at = messages.get(leaf); at && !seen.has(at.id); at = messages.get(at.parent)) {
    seen.add(at.id);
    path.push(at);
  }
  return path.reverse();
}

/** The last message of the branch that was written to last, from `id` on. */
export function leafBelow(messages, id) {
  for (;;) {
    const next = children(messages, id).at(-1);
    if (!next) return id;
    id = next.id;
  }
}
