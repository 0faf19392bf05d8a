"""How models write calls: a row for each family, and which one a model is of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from qrt.replies.literals import JSON, Style
from qrt.text import Tokenizer


@dataclass(frozen=True)
class Tags:
    """The marks of calls whose arguments stand between tags."""

    key: str
    """Before the name of an argument, which a mark or > ends."""
    value_end: str
    key_end: str = ""
    value: str = ""
    """Before a value; nothing: it begins where the key ends."""
    call: str = ""
    """Before the name of a tool, which > ends; nothing: the name stands where the call begins."""
    call_end: str = ""
    is_loose: bool = False
    """Whether calls may stand without what wraps them."""
    trims: bool = False
    """A new line at either end of a value is none of it."""


@dataclass(frozen=True)
class Form:
    """How a family writes calls.

    After any of `wraps` comes JSON with a name and arguments, or a name (a header, cut in parts by
    `separators`) and its arguments as JSON in `style`, as tags, or in parentheses.
    """

    wraps: tuple[str, ...] = ()
    closes: tuple[str, ...] = ()
    separators: tuple[str, ...] = ()
    starts: str = ""
    """Letters with which an answer that is a call may begin, without any mark."""
    fill: str = ""
    """Letters that may stand between calls."""
    style: Style = JSON
    tags: Tags | None = None
    is_pythonic: bool = False
    """Whether calls may be written name(key=value)."""
    is_lined: bool = False
    """Whether further calls may follow without a mark, until one closes them."""
    id_part: int = -1
    """The part of the header that is the id of the call."""
    is_told: bool = False
    """Whether the form was told to the model as text, so that it may spell marks as text."""
    ends_thoughts: bool = False
    """Whether a call ends thoughts that nothing closed."""
    signs: tuple[str, ...] = field(default=(), kw_only=True)
    """What a template of this family has in it, any of them."""
    needs: tuple[str, ...] = field(default=(), kw_only=True)
    """Special tokens of which the vocabulary has any, where the template tells nothing."""

    @cached_property
    def begins(self) -> frozenset[str]:
        """Marks with which calls begin."""
        is_loose = self.tags is not None and self.tags.is_loose
        return self.goes_on if is_loose else frozenset(self.wraps)

    @cached_property
    def goes_on(self) -> frozenset[str]:
        """Marks with which another call may follow one."""
        return frozenset((*self.wraps, *([self.tags.call] if self.tags and self.tags.call else [])))

    @cached_property
    def marks(self) -> tuple[str, ...]:
        """All marks."""
        tags = self.tags
        inner = (
            (tags.key, tags.value_end, tags.key_end, tags.value, tags.call, tags.call_end)
            if tags
            else ()
        )
        all_marks = (*self.wraps, *self.closes, *self.separators, *inner, self.style.quote_mark)
        return tuple(dict.fromkeys(filter(None, all_marks)))


_FUNCTION_TAGS: Final = Tags(
    call="<function=",
    call_end="</function>",
    key="<parameter=",
    value_end="</parameter>",
    trims=True,
)
_DSML: Final = "｜DSML｜"

FORMS: Mapping[str, Form] = {
    "harmony": Form(signs=("<|channel|>",), needs=("<|channel|>",)),
    "gemma4": Form(
        wraps=("<|tool_call>",),
        closes=("<tool_call|>",),
        style=Style(quotes="", quote_mark='<|"|>', is_bare=True),
        signs=("<|tool_call>",),
        needs=("<|tool_call>",),
    ),
    "kimi": Form(
        wraps=("<|tool_calls_section_begin|>", "<|tool_call_begin|>"),
        closes=("<|tool_call_end|>", "<|tool_calls_section_end|>"),
        separators=("<|tool_call_argument_begin|>",),
        id_part=0,
        ends_thoughts=True,
        signs=("<|tool_call_begin|>", "<|im_middle|>"),
    ),
    "deepseek-dsml": Form(
        wraps=(f"<{_DSML}function_calls>", f"<{_DSML}tool_calls>"),
        closes=(f"</{_DSML}function_calls>", f"</{_DSML}tool_calls>"),
        tags=Tags(
            call=f'<{_DSML}invoke name="',
            call_end=f"</{_DSML}invoke>",
            key=f'<{_DSML}parameter name="',
            value_end=f"</{_DSML}parameter>",
        ),
        ends_thoughts=True,
        signs=(_DSML,),
    ),
    "deepseek": Form(
        wraps=("<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>"),
        closes=("<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"),
        separators=("<｜tool▁sep｜>",),
        fill="`",
        ends_thoughts=True,
        signs=("<｜tool▁call▁begin｜>", "<｜tool▁calls▁begin｜>"),
    ),
    "mistral": Form(
        wraps=("[TOOL_CALLS]",),
        separators=("[ARGS]", "[CALL_ID]"),
        id_part=1,
        signs=("[TOOL_CALLS]",),
        needs=("[TOOL_CALLS]",),
    ),
    "minimax": Form(
        wraps=("<minimax:tool_call>",),
        closes=("</minimax:tool_call>",),
        tags=Tags(
            call='<invoke name="',
            call_end="</invoke>",
            key='<parameter name="',
            value_end="</parameter>",
        ),
        signs=("<minimax:tool_call>",),
    ),
    "seed-oss": Form(
        wraps=("<seed:tool_call>",),
        closes=("</seed:tool_call>",),
        tags=_FUNCTION_TAGS,
        signs=("<seed:tool_call>",),
    ),
    "functionary": Form(
        wraps=("<function=",),
        closes=("</function>",),
        signs=("<{start_tag}={function_name}>",),
    ),
    "qwen3-coder": Form(
        wraps=("<tool_call>",),
        closes=("</tool_call>",),
        tags=replace(_FUNCTION_TAGS, is_loose=True),
        signs=("<function=",),
    ),
    "glm": Form(
        wraps=("<tool_call>",),
        closes=("</tool_call>",),
        tags=Tags(
            key="<arg_key>", key_end="</arg_key>", value="<arg_value>", value_end="</arg_value>"
        ),
        signs=("<arg_key>",),
    ),
    "lfm2": Form(
        wraps=("<|tool_call_start|>",),
        closes=("<|tool_call_end|>",),
        is_pythonic=True,
        signs=("<|tool_call_start|>",),
        needs=("<|tool_call_start|>",),
    ),
    "olmo3": Form(
        wraps=("<function_calls>",),
        closes=("</function_calls>",),
        is_pythonic=True,
        is_lined=True,
        signs=("<function_calls>",),
    ),
    "apertus": Form(
        wraps=("<|tools_prefix|>",),
        closes=("<|tools_suffix|>",),
        ends_thoughts=True,
        signs=("<|tools_prefix|>",),
        needs=("<|tools_prefix|>",),
    ),
    "solar": Form(
        wraps=("<|tool_calls|>", "<|tool_call:begin|>"),
        closes=("<|tool_call:end|>",),
        separators=("<|tool_call:name|>", "<|tool_call:args|>"),
        id_part=0,
        signs=("<|tool_call:begin|>",),
        needs=("<|tool_call:begin|>",),
    ),
    "gigachat": Form(
        wraps=("<|function_call|>",),
        signs=("<|function_call|>",),
        needs=("<|function_call|>",),
    ),
    "command-r": Form(
        wraps=("<|START_ACTION|>",),
        closes=("<|END_ACTION|>",),
        ends_thoughts=True,
        signs=("<|START_ACTION|>",),
        needs=("<|START_ACTION|>",),
    ),
    "phi4": Form(
        wraps=("<|tool_call|>",),
        closes=("<|/tool_call|>",),
        signs=("<|tool_call|>",),
        needs=("<|tool_call|>",),
    ),
    "nemotron": Form(wraps=("<TOOLCALL>",), closes=("</TOOLCALL>",), signs=("<TOOLCALL>",)),
    "jamba": Form(wraps=("<tool_calls>",), closes=("</tool_calls>",), signs=("<tool_calls>",)),
    "internlm2": Form(
        wraps=("<|action_start|>", "<|plugin|>"),
        closes=("<|action_end|>",),
        signs=("<|action_start|>",),
        needs=("<|action_start|>",),
    ),
    "hermes": Form(wraps=("<tool_call>",), closes=("</tool_call>",), signs=("<tool_call>",)),
    "llama3": Form(
        wraps=("<|python_tag|>", "<|python_start|>"),
        closes=("<|python_end|>",),
        starts="{",
        fill=";,",
        signs=("<|python_tag|>", '"parameters": dictionary of argument name'),
    ),
    "generic": Form(
        wraps=("<tool_call>", "<|python_tag|>", "```json", "```tool_code"),
        closes=("</tool_call>", "```"),
        starts="{[",
        fill=");,",
        is_pythonic=True,
        is_told=True,
    ),
}
"""By family, those that are told by the surest signs first."""

_TOOLS = re.compile(r"(?<![\w.'\"])tools(?![\w'\"])")


def knows_tools(template: str) -> bool:
    """Whether a chat template can state tools."""
    return _TOOLS.search(template) is not None


def family_of(tokenizer: Tokenizer, template: str) -> str:
    """The family of a model: a key of FORMS."""
    knows = knows_tools(template)
    for name, form in FORMS.items():
        if any(sign in template for sign in form.signs) and (knows or name == "harmony"):
            return name
    if knows:
        for name, form in FORMS.items():
            if any(tokenizer.find_special(token) is not None for token in form.needs):
                return name
    return "generic"
