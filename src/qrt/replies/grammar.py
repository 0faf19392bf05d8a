"""What an answer must look like that calls tools, as a grammar in Lark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from json import loads
from typing import Any

from qrt.errors import InputError
from qrt.replies import harmony
from qrt.replies.forms import FORMS, Form, family_of
from qrt.replies.marks import Cutter
from qrt.replies.rules import Rules
from qrt.replies.thoughts import MARKS, opened
from qrt.replies.tools import ToolChoice, schemas, strict
from qrt.replies.written import Written, written_of
from qrt.runtime.checks import shown
from qrt.runtime.constraint import Grammar
from qrt.text import Tokenizer


def call_grammar(
    tokenizer: Tokenizer,
    template_source: str,
    prompt_tokens: Sequence[int],
    tools: Sequence[Mapping[str, Any]],
    tool_choice: ToolChoice = "auto",
    parallel: bool = True,
    text: Grammar | None = None,
    may_be_lax: bool = False,
) -> Grammar | None:
    """What the reply to a prompt must look like; None where the model is free.

    tool_choice: "none": free; "auto": free too, unless a tool is strict: then text may come, and
    calls, whose arguments are as the tool's schema has them; "required": it calls tools; the name
    of one, or {"type": "function", "function": {"name": ...}}: it calls that; parallel: it may
    call several times. text: the JSON schema of an answer that is no call. may_be_lax: strict
    tools are as others where the model's family is not known, since much text could be a call
    then. Thoughts may come first. Raises InputError for a choice that there is not.
    """
    if isinstance(tool_choice, Mapping) and tool_choice.keys() == {"type"}:
        tool_choice = tool_choice["type"]
    offered = schemas(tools)
    chosen = _chosen(tool_choice, offered)
    held = strict(tools)
    if chosen is None and (tool_choice == "none" or not held):
        return None
    family = family_of(tokenizer, template_source)
    form = FORMS[family]
    if chosen is None and may_be_lax and form.is_told:
        return None
    is_harmony = family == "harmony"
    marks = harmony.MARKS if is_harmony else (*MARKS, *form.marks)
    cutter = Cutter(tokenizer, dict.fromkeys(marks))
    tokens = cutter.tokens
    written = written_of(family, template_source, tokens)
    begins = harmony.MARKS if is_harmony else sorted(form.begins)
    spelled = [mark for mark in begins if form.is_told or mark not in tokens]
    rules = Rules(tokens, form.tags, *(((), "") if chosen else (spelled, form.starts)))
    several = written.many and parallel
    more = f" ({rules.text(written.between)} call)*" if several else ""
    calls = f"{rules.text(written.begin)} call{more} {rules.text(written.end)}"
    if is_harmony:
        before = rules.messages(only_thoughts=chosen is not None)
    else:
        before = rules.thoughts(template_source, opened(tokenizer, tokens, prompt_tokens))
    answer = "FREE" if text is None else rules.json(loads(text.text))
    if chosen:
        body = calls
    elif is_harmony:
        body = f"(call | {rules.text(harmony.FINAL)} {answer})"
    elif text is not None:
        body = f"({calls} | {answer})"
    else:
        body, written = _among_text(rules, form, written, more, several)
    arguments = {
        name: offered[name] if chosen or name in held else None for name in chosen or offered
    }
    call = " | ".join(rules.call(written, name, schema) for name, schema in arguments.items())
    lines = [f"start: {before} {body}", f"call: {call}", *rules.lines]
    return Grammar("lark", "\n".join(lines), has_thoughts=True)


def _among_text(
    rules: Rules, form: Form, written: Written, more: str, several: bool
) -> tuple[str, Written]:
    """Calls wherever text comes to their mark; how a call is written behind that."""
    opening = written.begin or written.call
    mark = next((mark for mark in form.begins if opening.startswith(mark)), "")
    if not mark:
        return f"({rules.free_until_any(form.wraps)} call | FREE)", written
    upto, end = rules.free_until(mark), rules.text(written.end)
    if written.begin:
        calls = f"{upto} {rules.text(opening.removeprefix(mark))} call{more} {end}"
    else:
        calls, written = f"{upto} call", replace(written, call=opening.removeprefix(mark))
    if several and not form.starts:  # else text behind a call could begin another
        return f"({calls})* FREE", written
    return f"({calls} | FREE)", written


def _chosen(choice: ToolChoice, offered: Mapping[str, Any]) -> list[str] | None:
    """The tools of which one must be called; None: none must."""
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
