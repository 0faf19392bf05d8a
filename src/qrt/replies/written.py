"""How each family is asked to write calls where it must: the one way of several that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Written:
    """The text of calls: `begin`, then each call with `between` between them, then `end`.

    A call is `call`, in which NAME stands for the tool, its arguments, and `call_end`.
    """

    call: str
    call_end: str
    begin: str = ""
    between: str = ""
    end: str = ""
    is_free: bool = False
    """Whether its arguments are written in no way that a grammar is known of."""
    many: bool = True
    """Whether it may write several calls."""


_JSON = '{"name": "NAME", "arguments": '
_TAGS = Written("<function=NAME>\n", "</function>\n")

WRITTEN: Mapping[str, Written] = {
    "harmony": Written(
        "<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>", "", many=False
    ),
    "gemma4": Written("<|tool_call>call:NAME{", "}<tool_call|>", is_free=True),
    "kimi": Written(
        "<|tool_call_begin|>functions.NAME:0<|tool_call_argument_begin|>",
        "<|tool_call_end|>",
        begin="<|tool_calls_section_begin|>",
        end="<|tool_calls_section_end|>",
    ),
    "deepseek-dsml": Written(
        '<｜DSML｜invoke name="NAME">\n',
        "</｜DSML｜invoke>\n",
        begin="<｜DSML｜function_calls>\n",
        end="</｜DSML｜function_calls>",
    ),
    "deepseek": Written(
        "<｜tool▁call▁begin｜>NAME<｜tool▁sep｜>",
        "<｜tool▁call▁end｜>",
        begin="<｜tool▁calls▁begin｜>",
        end="<｜tool▁calls▁end｜>",
    ),
    "mistral": Written("[TOOL_CALLS]NAME[ARGS]", ""),
    "minimax": Written(
        '<invoke name="NAME">\n',
        "</invoke>\n",
        begin="<minimax:tool_call>\n",
        end="</minimax:tool_call>",
    ),
    "seed-oss": Written(
        _TAGS.call, _TAGS.call_end, begin="<seed:tool_call>\n", end="</seed:tool_call>"
    ),
    "functionary": Written("<function=NAME>", "</function>"),
    "qwen3-coder": Written(
        "<tool_call>\n" + _TAGS.call, _TAGS.call_end + "</tool_call>", between="\n"
    ),
    "glm": Written("<tool_call>NAME\n", "</tool_call>", between="\n"),
    "lfm2": Written(
        "NAME(",
        ")]<|tool_call_end|>",
        begin="<|tool_call_start|>[",
        is_free=True,
        many=False,
    ),
    "olmo3": Written(
        "NAME(", ")\n</function_calls>", begin="<function_calls>\n", is_free=True, many=False
    ),
    "apertus": Written(
        '{"NAME": ', "}", begin="<|tools_prefix|>[", between=", ", end="]<|tools_suffix|>"
    ),
    "solar": Written(
        "<|tool_call:begin|>0<|tool_call:name|>NAME<|tool_call:args|>", "<|tool_call:end|>"
    ),
    "gigachat": Written("<|function_call|>" + _JSON, "}", many=False),
    "command-r": Written(
        '{"tool_call_id": "0", "tool_name": "NAME", "parameters": ',
        "}",
        begin="<|START_ACTION|>[",
        between=", ",
        end="]<|END_ACTION|>",
    ),
    "phi4": Written(_JSON, "}", begin="<|tool_call|>[", between=", ", end="]<|/tool_call|>"),
    "nemotron": Written(_JSON, "}", begin="<TOOLCALL>[", between=", ", end="]</TOOLCALL>"),
    "jamba": Written(_JSON, "}", begin="<tool_calls>[", between=", ", end="]</tool_calls>"),
    "internlm2": Written(
        '<|action_start|><|plugin|>\n{"name": "NAME", "parameters": ', "}<|action_end|>"
    ),
    "hermes": Written("<tool_call>\n" + _JSON, "}\n</tool_call>", between="\n"),
    "llama3": Written('{"name": "NAME", "parameters": ', "}", many=False),
    "generic": Written("<tool_call>\n" + _JSON, "}\n</tool_call>", between="\n"),
}
"""By family."""

OLDER: Mapping[str, tuple[str, Written]] = {
    "mistral": ("[ARGS]", Written(_JSON, "}", begin="[TOOL_CALLS][", between=", ", end="]")),
    "deepseek": (
        "",
        Written(
            "<｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME\n```json\n",
            "\n```<｜tool▁call▁end｜>",
            begin="<｜tool▁calls▁begin｜>",
            between="\n",
            end="<｜tool▁calls▁end｜>",
        ),
    ),
}
"""The older way of a family, and the mark without which a template means it."""


def written_of(family: str, template: str, tokens: Mapping[str, int]) -> Written:
    """How a family writes calls, of which `tokens` are the marks that are special tokens."""
    mark, older = OLDER.get(family, ("", None))
    if family == "deepseek":
        is_older = "```json" in template
    else:
        is_older = mark not in tokens and mark not in template
    return older if older is not None and is_older else WRITTEN[family]
