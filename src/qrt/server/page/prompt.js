// From a conversation to the body of a request.

/** A text between fences that no line of it can close. */
function fenced(name, text) {
  const longest = Math.max(2, ...(text.match(/`+/g) ?? []).map((run) => run.length));
  const fence = "`".repeat(longest + 1);
  return `${name}\n${fence}\n${text}\n${fence}`;
}

/** What a model is given of a message: its files, then its words. */
export function contentOf(message) {
  const files = (message.attachments ?? []).map((file) => fenced(file.name, file.text));
  return [...files, message.text].filter(Boolean).join("\n\n");
}

/** The messages of a request; answers that failed before their first word are left out. */
function messagesOf(path, system) {
  const told = path
    .filter((message) => message.role === "user" || message.text)
    .map((message) => ({ role: message.role, content: contentOf(message) }));
  return system?.trim() ? [{ role: "system", content: system.trim() }, ...told] : told;
}

/** How many messages at the start of a path go, so that about `share` of its text stays.
 *
 * Whole turns go, the last message never; 0 where there is nothing to leave out.
 */
export function nLeftOut(path, share) {
  const sizes = path.map((message) => contentOf(message).length);
  const wanted = sizes.reduce((sum, size) => sum + size, 0) * share;
  let kept = sizes.at(-1) ?? 0;
  let from = path.length - 1;
  while (from > 0 && kept + sizes[from - 1] <= wanted) kept += sizes[--from];
  while (from < path.length - 1 && path[from].role !== "user") from++;
  return from;
}

/** The body of a request for the answer to the last message of `path`. */
export function requestBody(path, settings, model) {
  const body = {
    messages: messagesOf(path, settings.system),
    stream: true,
    stream_options: { include_usage: true },
    ...settings.sampling,
  };
  if (model) body.model = model;
  if (settings.schema) {
    const schema = JSON.parse(settings.schema);
    body.response_format = {
      type: "json_schema",
      json_schema: { name: "answer", schema, strict: true },
    };
  }
  if (settings.think) body.chat_template_kwargs = { enable_thinking: settings.think === "on" };
  return body;
}
