// What went wrong, in words that say what to do.

const WORDS = {
  unreachable: "The server does not answer. It may have been stopped; start it again with “qrt app”, then retry.",
  key: "The server wants an API key, and this one is not right.",
  loading: "The model is being loaded.",
  busy: "The server has as many requests as it takes. Retry in a moment.",
  context: "This conversation is longer than the model's context. Shorten the message, or begin a new conversation.",
  cut: "The answer broke off: the connection to the server was lost.",
  refused: "The server refused this request.",
  missing: "This server has no such model or function.",
  failed: "The server could not do this.",
};

/** An error that a reader can act on: its kind, the words for it, what the server said. */
export class ServerError extends Error {
  constructor(kind, detail = "", context = {}) {
    super(WORDS[kind]);
    this.kind = kind;
    this.detail = detail;
    this.context = context;
  }
}

const KINDS = { 401: "key", 403: "refused", 404: "missing", 429: "busy", 503: "busy" };

/** The error that an answer which is not of the 200s stands for, whichever shape its body has. */
export function errorOf(status, body) {
  const error = body?.error ?? {};
  const detail = typeof error === "string" ? error : String(error.message ?? "");
  const kinds = [error.type, error.code];
  if (kinds.some((kind) => /context_(size|length)_exceeded|exceed_context/.test(String(kind)))) {
    const [, used, size] = /has (\d+) tokens.* holds (\d+)/.exec(detail) ?? [];
    const told = { used: error.n_prompt_tokens ?? used, size: error.n_ctx ?? size };
    return new ServerError("context", detail, told);
  }
  if (status === 503 && /loading model/i.test(detail)) return new ServerError("loading", detail);
  return new ServerError(KINDS[status] ?? (status >= 500 ? "failed" : "refused"), detail);
}
