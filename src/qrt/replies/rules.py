"""Writes the rules of grammars of calls, in Lark."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from json import dumps
from typing import Any

from qrt.replies.forms import Tags
from qrt.replies.parameters import types_of
from qrt.replies.thoughts import PAIRS
from qrt.replies.written import Written

_ANY = "/(.|\\n)*/"
_STRICT = {"x-guidance": {"whitespace_flexible": False, "lenient": True}}


class Rules:
    """Writes parts of rules; `lines` are those that parts name."""

    def __init__(
        self, tokens: Mapping[str, int], tags: Tags | None, barred: Sequence[str], starts: str
    ) -> None:
        """tokens: marks that are special tokens, and never text. barred: what FREE, free text,
        may not have in it; starts: letters that it may not begin with."""
        self.lines = [f"FREE: {_free(barred, starts)}"]
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
            return self.free_until(PAIRS[mark]) + " /\\s{0,2}/"
        mark = next((mark for mark in PAIRS if mark in template), None)
        if mark is None:
            return ""
        return f"({self.text(mark)} {self.free_until(PAIRS[mark])} /\\s{{0,2}}/)?"

    def messages(self, *, only_thoughts: bool) -> str:
        """What may come first of messages of gpt-oss: its thoughts, and news of what it does."""
        between = f"{self._until('<|end|>')} {self.text('<|start|>assistant')}"
        analysis = f"{self.text('<|channel|>analysis<|message|>')} {between}"
        if only_thoughts:
            return f"({analysis})?"
        return f"({analysis} | {self.text('<|channel|>commentary<|message|>')} {between})*"

    def call(self, written: Written, name: str, schema: Mapping[str, Any] | None) -> str:
        """A call of a tool; its arguments follow the schema, if there is one."""
        begin = self.text(written.call.replace("NAME", name))
        if written.is_free or (schema is None and self._tags):
            return f"{begin} {self._until(written.call_end)}"
        if self._tags and schema is not None:
            arguments = self._tagged(self._tags, schema)
        else:
            # Small models go on with names of their own where nothing ends the list of arguments.
            schema = schema or {}
            closed = {"additionalProperties": False} if "properties" in schema else {}
            arguments = self.json({"type": "object", **closed, **schema})
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
        return f"{self.json({**kept, **own})} {self.text(end)}"

    def json(self, schema: Mapping[str, Any]) -> str:
        """JSON that follows a schema."""
        return self._rule(f"%json {dumps({**schema, **_STRICT}, ensure_ascii=False)}")

    def free_until(self, end: str) -> str:
        """Free text up to `end`."""
        return self._until(end, "FREE")

    def free_until_any(self, marks: Sequence[str]) -> str:
        """Nothing, or free text up to one of the marks that are special tokens."""
        found = " | ".join(self.text(mark) for mark in marks if mark in self._tokens)
        return f"(FREE ({found}))?" if found else ""

    def _until(self, end: str, body: str = _ANY) -> str:
        """Text up to `end`, which has a mark."""
        found = self._marks.search(end)
        if found is None:
            return self._rule(body, f"[suffix={self._quoted(end)}]")
        return f"{body} {self.text(end[found.start() :])}"

    def _rule(self, body: str, options: str = "") -> str:
        name = f"part{len(self.lines)}"
        self.lines.append(f"{name}{options}: {body}")
        return name

    def _quoted(self, text: str) -> str:
        return dumps(text, ensure_ascii=False) if text else ""


def _free(barred: Sequence[str], starts: str) -> str:
    """Text in which nothing barred stands, and that does not begin with one of `starts`."""
    parts = [_ANY]
    if starts:
        parts.append(f"/\\s*([^\\s{re.escape(starts)}](.|\\n)*)?/")
    if barred:
        words = "|".join(re.escape(word).replace("/", "\\/") for word in barred)
        parts.append(f"~/(.|\\n)*({words})(.|\\n)*/")
    return " & ".join(parts)
