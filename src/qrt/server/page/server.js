// The server's routes that the page uses.

import { keep, recall } from "./keep.js";
import { events } from "./sse.js";
import { ServerError, errorOf } from "./words.js";

const KEY = "qrt.key";

const LOADING_MS = 700;

/** Waits a moment, or until the signal says stop. */
function moment(signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    setTimeout(() => (signal?.aborted ? reject(signal.reason) : resolve()), LOADING_MS);
  });
}

/** The JSON of a body, or null where it has none. */
async function bodyOf(response) {
  try {
    return await response.json();
  } catch {
    return null;
  }
}

export class Server {
  /** askForKey: shows the prompt for an API key, after a wrong one or not; a promise of the key,
   * or null.
   * onLoading: called while an answer waits for the model to be loaded. */
  constructor(askForKey) {
    this.askForKey = askForKey;
    this.asking = null;
    this.key = recall(KEY, true);
    this.onLoading = null;
  }

  #headers() {
    return this.key ? { authorization: `Bearer ${this.key}` } : {};
  }

  async #newKey() {
    this.asking ??= this.askForKey(this.key !== null).finally(() => (this.asking = null));
    const key = await this.asking;
    if (key) {
      this.key = key;
      keep(KEY, key, true);
    }
    return key;
  }

  /** A response of the 200s; asks for a key where one is wanted. Raises ServerError. */
  async #fetch(path, options = {}) {
    for (;;) {
      let response;
      try {
        const headers = { ...options.headers, ...this.#headers() };
        response = await fetch(path, { ...options, headers, cache: "no-store" });
      } catch (error) {
        if (error.name === "AbortError") throw error;
        throw new ServerError("unreachable", error.message);
      }
      if (response.ok) return response;
      if (response.status === 401 && (await this.#newKey())) continue;
      const error = errorOf(response.status, await bodyOf(response));
      if (error.kind !== "loading") throw error;
      this.onLoading?.();
      await moment(options.signal);
    }
  }

  #post(path, body, signal) {
    const headers = { "content-type": "application/json" };
    return this.#fetch(path, { method: "POST", body: JSON.stringify(body), headers, signal });
  }

  async props(model) {
    const query = model ? `?model=${encodeURIComponent(model)}` : "";
    return bodyOf(await this.#fetch(`props${query}`));
  }

  /** The models that answer as `{ id, status, size, nCtx }`; others make vectors, or rank. */
  async models() {
    const body = await bodyOf(await this.#fetch("models"));
    const answers = ({ capabilities: can }) => !can?.length || can.includes("completion");
    return (body?.data ?? body?.models ?? []).filter(answers).map((model) => ({
      id: String(model.id ?? model.name ?? model.model),
      status: String(model.status?.value ?? model.status ?? "loaded"),
      size: Number(model.size ?? model.meta?.size ?? 0),
      nCtx: Number(model.meta?.n_ctx ?? 0),
    }));
  }

  async countTokens(content, model) {
    const body = await bodyOf(await this.#post("tokenize", { content, model }));
    return body.tokens.length;
  }

  /** The chunks of an answer, as they come. */
  async *chat(body, signal) {
    const response = await this.#post("v1/chat/completions", body, signal);
    let ended = false;
    try {
      for await (const { data } of events(response.body)) {
        if (data === "[DONE]") return;
        const chunk = JSON.parse(data);
        if (chunk.error) throw errorOf(Number(chunk.error.code) || 500, chunk);
        ended ||= chunk.choices?.some((choice) => choice.finish_reason) ?? false;
        yield chunk;
      }
    } catch (error) {
      if (error instanceof ServerError || error.name === "AbortError") throw error;
      throw new ServerError("cut", error.message);
    }
    if (!ended) throw new ServerError("cut");
  }

  /** Loads a model; `onProgress` gets what is told of it: `{ stage, share }`, share 0 to 1. */
  async load(model, onProgress) {
    const response = await this.#post("models/load", { model, stream: true });
    for await (const { data } of events(response.body)) {
      const told = JSON.parse(data);
      if (told.error) throw errorOf(Number(told.error.code) || 500, told);
      const { what = "", done = 0, total = 0 } = told.status?.progress ?? {};
      onProgress({ stage: String(what), share: total ? done / total : Number.NaN });
    }
  }

  async unload(model) {
    await this.#post("models/unload", { model });
  }

  /** Puts a GGUF file into the server's store; `onProgress` gets the share that is there. */
  upload(file, onProgress) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("PUT", `models/upload?name=${encodeURIComponent(file.name)}`);
      for (const [name, value] of Object.entries(this.#headers())) {
        request.setRequestHeader(name, value);
      }
      request.responseType = "json";
      request.upload.onprogress = (event) => onProgress(event.loaded / event.total);
      request.onerror = () => reject(new ServerError("unreachable"));
      request.onload = () =>
        request.status < 300
          ? resolve(request.response)
          : reject(errorOf(request.status, request.response));
      request.send(file);
    });
  }
}
