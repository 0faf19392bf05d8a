"""What an answer must look like that has to call a tool, as a grammar in Lark."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from qrt.errors import InputError
from qrt.replies import harmony
from qrt.replies.forms import FORMS, Tags, family_of
from qrt.replies.marks import Cutter
from qrt.replies.parameters import types_of
from qrt.replies.thoughts import MARKS, PAIRS, opened
from qrt.replies.tools import ToolChoice, schemas
from qrt.replies.written import OLDER, WRITTEN, Written
from qrt.runtime.checks import shown
from qrt.runtime.constraint import Grammar
from qrt.text import Tokenizer

_ANY = "/(.|\\n)*/"
_STRICT = {"x-guidance": {"whitespace_flexible": False, "lenient": True}}


def call_grammar(
    tokenizer: Tokenizer,
    template_source: str,
    prompt_tokens: Sequence[int],
    tools: Sequence[Mapping[str, Any]],
    tool_choice: ToolChoice = "auto",
    parallel: bool = True,
) -> Grammar | None:
    """What the reply to a prompt must look like; None where the model is free to choose.

    tool_choice: "auto" and "none": free; "required": it calls tools; the name of one, or
    {"type": "function", "function": {"name": ...}}: it calls that; parallel: it may call several
    times. Thoughts may come first. Raises InputError for a choice that there is not.
    """
    offered = schemas(tools)
    if (chosen := _chosen(tool_choice, offered)) is None:
        return None
    family = family_of(tokenizer, template_source)
    form = FORMS[family]
    is_harmony = family == "harmony"
    marks = harmony.MARKS if is_harmony else (*MARKS, *form.marks)
    cutter = Cutter(tokenizer, dict.fromkeys(marks))
    writer = _Writer(cutter.tokens, form.tags)
    written = _written(family, template_source, cutter.tokens)
    before = (
        writer.analysis()
        if is_harmony
        else writer.thoughts(template_source, opened(tokenizer, cutter.tokens, prompt_tokens))
    )
    calls = " | ".join(writer.call(written, name, offered[name]) for name in chosen)
    several = written.many and parallel
    more = f" ({writer.text(written.between)} call)*" if several else ""
    rules = [
        f"start: {before} {writer.text(written.begin)} call{more} {writer.text(written.end)}",
        f"call: {calls}",
        *writer.rules,
    ]
    return Grammar("lark", "\n".join(rules), has_thoughts=True)


def _chosen(choice: ToolChoice, offered: Mapping[str, Any]) -> list[str] | None:
    """The tools of which one must be called; None: none must."""
    if isinstance(choice, Mapping) and choice.keys() == {"type"}:
        choice = choice["type"]
    name: object = choice
    if isinstance(choice, Mapping):
        inner = choice.get("function")
        name = (inner if isinstance(inner, Mapping) else choice).get("name")
    elif choice in ("auto", "none"):
        return None
    elif choice in ("required", "any"):
        if not offered:
            raise InputError("tool_choice asks for a call, and there are no tools")
        return list(offered)
    if not isinstance(name, str) or name not in offered:
        known = ", ".join(["auto", "none", "required", *offered])
        raise InputError(f"tool_choice is {shown(choice)}; expected one of {known}")
    return [name]


def _written(family: str, template: str, tokens: Mapping[str, int]) -> Written:
    mark, older = OLDER.get(family, ("", None))
    if family == "deepseek":
        is_older = "```json" in template
    else:
        is_older = mark not in tokens and mark not in template
    return older if older is not None and is_older else WRITTEN[family]


class _Writer:
    """Writes parts of rules; `rules` are those that parts name."""

    def __init__(self, tokens: Mapping[str, int], tags: Tags | None) -> None:
        self.rules: list[str] = []
        self._tokens = tokens
        self._tags = tags
        longest_first = sorted(tokens, key=len, reverse=True)
        self._marks = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    def text(self, text: str) -> str:
        """Text and the special tokens in it."""
        parts: list[str] = []
        at = 0
        for found in self._marks.finditer(text):
            parts += (self._quoted(text[at : found.start()]), f"<[{self._tokens[found[0]]}]>")
            at = found.end()
        parts.append(self._quoted(text[at:]))
        return " ".join(filter(None, parts))

    def thoughts(self, template: str, mark: str | None) -> str:
        """Thoughts that may come first, or go on where the prompt has opened them."""
        if mark is not None:
            return self._until(PAIRS[mark]) + " /\\s{0,2}/"
        mark = next((mark for mark in PAIRS if mark in template), None)
        if mark is None:
            return ""
        return f"({self.text(mark)} {self._until(PAIRS[mark])} /\\s{{0,2}}/)?"

    def analysis(self) -> str:
        """The same as messages of gpt-oss."""
        head = self.text("<|channel|>analysis<|message|>")
        between = self.text("<|start|>assistant")
        return f"({head} {self._until('<|end|>')} {between})?"

    def call(self, written: Written, name: str, schema: Mapping[str, Any]) -> str:
        """A call of a tool."""
        begin = self.text(written.call.replace("NAME", name))
        if written.is_free:
            return f"{begin} {self._until(written.call_end)}"
        if self._tags:
            arguments = self._tagged(self._tags, schema)
        else:
            # Small models go on with names of their own where nothing ends the list of arguments.
            closed = {"additionalProperties": False} if "properties" in schema else {}
            arguments = self._json({"type": "object", **closed, **schema})
        return f"{begin} {arguments} {self.text(written.call_end)}"

    def _tagged(self, tags: Tags, schema: Mapping[str, Any]) -> str:
        properties = schema.get("properties")
        required = schema.get("required")
        parts: list[str] = []
        for key, inner in properties.items() if isinstance(properties, Mapping) else ():
            head = f"{tags.key}{key}" + (tags.key_end or ('">' if tags.key.endswith('"') else ">"))
            head += f"\n{tags.value}" if tags.value else ""
            feed = "\n" if tags.trims else ""
            tail = self._value(schema, key, inner, feed + tags.value_end)
            part = f"{self.text(head + feed)} {tail} {self.text(chr(10))}"
            parts.append(part if isinstance(required, list) and key in required else f"({part})?")
        return " ".join(parts)

    def _value(self, schema: Mapping[str, Any], key: str, inner: object, end: str) -> str:
        """The value of an argument between tags, where strings have no quotes."""
        own: Mapping[str, Any] = inner if isinstance(inner, Mapping) else {}
        words = [own["const"]] if "const" in own else own.get("enum")
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return f"({' | '.join(map(self._quoted, words))}) {self.text(end)}"
        if "string" in types_of(schema, key):
            return self._until(end)
        kept = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
        return f"{self._json({**kept, **own})} {self.text(end)}"

    def _json(self, schema: Mapping[str, Any]) -> str:
        return self._rule(f"%json {json.dumps({**schema, **_STRICT}, ensure_ascii=False)}")

    def _until(self, end: str) -> str:
        """Any text, up to `end`, which has a mark."""
        found = self._marks.search(end)
        if found is None:
            return self._rule(_ANY, f"[suffix={self._quoted(end)}]")
        if not found.start():
            return f"{_ANY} {self.text(end)}"
        return f"{_ANY} {self.text(end[found.start() :])}"

    def _rule(self, body: str, options: str = "") -> str:
        name = f"part{len(self.rules)}"
        self.rules.append(f"{name}{options}: {body}")
        return name

    def _quoted(self, text: str) -> str:
        return json.dumps(text, ensure_ascii=False) if text else ""
