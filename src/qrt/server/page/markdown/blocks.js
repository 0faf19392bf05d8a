// Markdown text to blocks as plain data: what a line begins, and how far it goes.

const FENCE = /^( {0,3})(`{3,}|~{3,})[ \t]*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})([ \t].*)?$/;
const RULE = /^ {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-+*]|\d{1,9}[.)])(?:( +)(.*))?$/;
const TASK = /^\[([ xX])\] +/;
const MATH = /^ {0,3}(\$\$|\\\[)/;
const DEEPEST = 12;

const isBlank = (line) => line.trim() === "";
const indentOf = (line) => line.length - line.trimStart().length;

/** The blocks of a text; `at` of each is the line it begins on. */
export function blocksOf(text) {
  return parse(text.replaceAll("\t", "    ").split("\n"), 0);
}

function parse(lines, depth) {
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (isBlank(lines[at])) {
      at++;
      continue;
    }
    const [block, next] = blockAt(lines, at, depth);
    block.at = at;
    blocks.push(block);
    at = next;
  }
  return blocks;
}

/** The block that begins on a line, and the line after it. */
function blockAt(lines, at, depth) {
  const line = lines[at];
  const fence = FENCE.exec(line);
  if (fence) return fenced(lines, at, fence);
  const heading = HEADING.exec(line);
  if (heading) {
    const text = withoutMarks((heading[2] ?? "").trim());
    return [{ kind: "heading", level: heading[1].length, text }, at + 1];
  }
  if (RULE.test(line)) return [{ kind: "rule" }, at + 1];
  const math = MATH.exec(line);
  if (math) {
    const found = mathBlock(lines, at, math[1]);
    if (found) return found;
  }
  if (depth < DEEPEST) {
    if (QUOTE.test(line)) return quote(lines, at, depth);
    if (ITEM.test(line) && indentOf(line) < 4) return list(lines, at, depth);
  }
  if (isTable(lines, at)) return table(lines, at);
  if (indentOf(line) >= 4) return indented(lines, at);
  return paragraph(lines, at);
}

/** A heading's text without the marks that may close it. */
function withoutMarks(text) {
  let end = text.length;
  while (text[end - 1] === "#") end--;
  const isClosed = end < text.length && (end === 0 || text[end - 1] === " ");
  return isClosed ? text.slice(0, end).trimEnd() : text;
}

function fenced(lines, at, [, indent, fence, info]) {
  const code = [];
  let next = at + 1;
  let isClosed = false;
  for (; next < lines.length && !isClosed; next++) {
    const line = lines[next];
    const mark = line.trim();
    isClosed = mark.length >= fence.length && indentOf(line) < 4 && mark === fence[0].repeat(mark.length);
    if (!isClosed) code.push(line.slice(Math.min(indent.length, indentOf(line))));
  }
  const language = info.trim().split(/\s/, 1)[0].toLowerCase();
  return [{ kind: "code", language, text: code.join("\n"), isClosed }, next];
}

function indented(lines, at) {
  let next = at;
  while (next < lines.length && (isBlank(lines[next]) || indentOf(lines[next]) >= 4)) next++;
  const code = lines.slice(at, next).map((line) => line.slice(4));
  return [{ kind: "code", language: "", text: code.join("\n").trimEnd(), isClosed: true }, next];
}

function mathBlock(lines, at, mark) {
  const end = mark === "$$" ? "$$" : "\\]";
  const rest = lines[at].trimStart().slice(2);
  if (rest.includes(end)) {
    return rest.trimEnd().endsWith(end) ? [{ kind: "math", text: lines[at].trim() }, at + 1] : null;
  }
  let next = at + 1;
  while (next < lines.length && !lines[next].includes(end)) next++;
  if (next === lines.length) return null;
  return [{ kind: "math", text: lines.slice(at, next + 1).join("\n") }, next + 1];
}

function quote(lines, at, depth) {
  const inner = [];
  let next = at;
  for (; next < lines.length; next++) {
    const line = lines[next];
    if (QUOTE.test(line)) inner.push(line.replace(QUOTE, ""));
    else if (isBlank(line) || isBlank(inner.at(-1)) || beginsBlock(lines, next)) break;
    else inner.push(line);
  }
  return [{ kind: "quote", blocks: parse(inner, depth + 1) }, next];
}

const kindOf = (mark) => (/\d/.test(mark) ? mark.at(-1) : mark);

function list(lines, at, depth) {
  const first = ITEM.exec(lines[at]);
  const base = first[1].length;
  const items = [];
  let isLoose = false;
  let next = at;
  while (next < lines.length) {
    const item = ITEM.exec(lines[next]);
    if (!item || kindOf(item[2]) !== kindOf(first[2]) || item[1].length > base + 1) break;
    if (RULE.test(lines[next])) break;
    const [inner, after] = itemLines(lines, next, item);
    next = after;
    let nBlank = 0;
    while (inner.length && isBlank(inner.at(-1))) nBlank += inner.pop().length + 1;
    const task = TASK.exec(inner[0] ?? "");
    if (task) inner[0] = inner[0].slice(task[0].length);
    const blocks = parse(inner, depth + 1);
    isLoose ||= blocks.some((block, i) => i > 0 && isBlank(inner[block.at - 1]) && block.kind === "paragraph");
    const follows = next < lines.length && ITEM.exec(lines[next]);
    isLoose ||= nBlank > 0 && follows && kindOf(follows[2]) === kindOf(first[2]);
    items.push({ task: task ? task[1] !== " " : null, blocks });
  }
  const start = /\d/.test(first[2]) ? Number.parseInt(first[2], 10) : null;
  return [{ kind: "list", start, isLoose: Boolean(isLoose), items }, next];
}

/** The lines of an item less their indent, blank ones at the end too, and the line after them. */
function itemLines(lines, at, [, indent, mark, gap, text]) {
  const space = gap && gap.length <= 4 ? gap.length : 1;
  let inside = indent.length + mark.length + space;
  const inner = [(gap ? " ".repeat(gap.length - space) : "") + (text ?? "")];
  let next = at + 1;
  for (; next < lines.length; next++) {
    const line = lines[next];
    const depth = indentOf(line);
    if (isBlank(line)) inner.push("");
    else if (depth >= inside) inner.push(line.slice(inside));
    else if (depth > indent.length + 1 && ITEM.test(line)) inner.push(line.slice((inside = depth)));
    else if (inner.at(-1) === "" || beginsBlock(lines, next)) break;
    else inner.push(line.trimStart());
  }
  return [inner, next];
}

/** The cells of a row; a pipe in code or behind a backslash is none. */
function cells(line) {
  const row = line.trim().replace(/^\|/, "");
  const found = [];
  let cell = "";
  let isCode = false;
  for (let i = 0; i < row.length; i++) {
    if (row[i] === "\\" && row[i + 1] === "|") cell += row[++i];
    else if (row[i] === "|" && !isCode) {
      found.push(cell.trim());
      cell = "";
    } else {
      if (row[i] === "`") isCode = !isCode && row.indexOf("`", i + 1) > 0;
      cell += row[i];
    }
  }
  return cell.trim() ? [...found, cell.trim()] : found;
}

function isTable(lines, at) {
  if (!lines[at].includes("|") || at + 1 >= lines.length || !lines[at + 1].includes("-")) return false;
  const rule = cells(lines[at + 1]);
  return rule.every((cell) => /^:?-+:?$/.test(cell)) && rule.length === cells(lines[at]).length;
}

function table(lines, at) {
  const align = cells(lines[at + 1]).map((cell) =>
    cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "right") : "left",
  );
  const rows = [];
  let next = at + 2;
  for (; next < lines.length && lines[next].includes("|") && !isBlank(lines[next]); next++) {
    const row = cells(lines[next]);
    rows.push(align.map((_, i) => row[i] ?? ""));
  }
  return [{ kind: "table", align, head: cells(lines[at]), rows }, next];
}

/** Whether a line ends the paragraph before it. */
function beginsBlock(lines, at) {
  const line = lines[at];
  if (FENCE.test(line) || HEADING.test(line) || QUOTE.test(line) || RULE.test(line)) return true;
  const item = ITEM.exec(line);
  if (item && item[4]) return true;
  return isTable(lines, at);
}

function paragraph(lines, at) {
  let next = at + 1;
  while (next < lines.length && !isBlank(lines[next]) && !beginsBlock(lines, next)) next++;
  const text = lines.slice(at, next).map((line) => line.trimStart()).join("\n").trimEnd();
  return [{ kind: "paragraph", text }, next];
}
