"""An answer that has to call a tool: whatever a model says under its grammar is a call."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from replies import TOOLS, summary, told, vocabulary
from reply_cases import CASES, TEMPLATES

from qrt.errors import InputError
from qrt.replies import call_grammar
from qrt.replies.forms import FORMS
from qrt.replies.written import WRITTEN, written_of
from qrt.runtime.records import TokenRecord

pytest.importorskip("llguidance")
jsonschema = pytest.importorskip("jsonschema")

PICK = {
    "type": "function",
    "function": {
        "name": "pick",
        "parameters": {
            "type": "object",
            "properties": {
                "unit": {"type": "string", "enum": ["c", "f"]},
                "count": {"type": "integer", "minimum": 0, "maximum": 99},
                "when": {"type": "string", "format": "date-ish"},
                "spot": {"$ref": "#/$defs/spot"},
            },
            "required": ["unit", "count"],
            "additionalProperties": False,
            "$defs": {
                "spot": {
                    "type": "object",
                    "properties": {"x": {"type": "boolean"}},
                    "required": ["x"],
                    "additionalProperties": False,
                }
            },
        },
    },
}
FREE = ("gemma4", "lfm2", "olmo3")
"""Families whose arguments no grammar is known of."""
LIKELY = "\"'}]<\n>"


def marks_of(family):
    """(control tokens, tokens of the text) of a family's vocabulary, thoughts among them."""
    found = [case for case in CASES if case.family == family]
    shown = {mark for case in found for mark in case.shown}
    control = {mark for case in found for mark in case.control} - shown
    return sorted(control), sorted(shown)


def walk(tokenizer, grammar, seed, ends=(), begin=""):
    """The tokens of an answer under a grammar, chosen at random behind `begin`; any text comes to
    one of `ends` before long."""
    from qrt.structure.grammars import Grammars

    constraint = Grammars(lambda: tokenizer).constraint(grammar)
    rng = random.Random(seed)
    likely = {*tokenizer.tokenize(LIKELY, add_special=False), *range(256, tokenizer.n_vocab)}
    tokens, planned = [], tokenizer.tokenize(begin, add_special=False, parse_special=True)
    n_fixed = len(planned)
    while len(tokens) < 4000:
        bits = np.unpackbits(constraint.mask().view(np.uint8), bitorder="little")
        allowed = np.flatnonzero(bits[: tokenizer.n_vocab]).tolist()
        if not planned and ends and len(allowed) > 100 and rng.random() < 0.2:
            planned = tokenizer.tokenize(rng.choice(ends), add_special=False)
        weights = [30 if token in likely else 1 for token in allowed]
        token = planned.pop(0) if planned else rng.choices(allowed, weights)[0]
        if token not in allowed:
            assert len(tokens) >= n_fixed, begin
            planned = []
            continue
        if token in tokenizer.eog_ids:
            return tokens
        tokens.append(token)
        constraint.accept(token)
    raise AssertionError("it does not end")


def ends_of(family):
    """What ends text of a family that may be anything."""
    tags = FORMS[family].tags
    closes = (WRITTEN[family].call_end, "<|end|>")
    ends = [f"\n{tags.value_end}" if tags.trims else tags.value_end] if tags else closes
    return [end for end in ends if end]


def parts_of(tokenizer, template, tokens, tools):
    """What an answer says, as summaries of events."""
    decoder = tokenizer.stream()
    records = [TokenRecord(decoder.push(token), token, 0.0) for token in tokens]
    return summary(told(tokenizer, template, records, tools=tools))


@pytest.mark.parametrize("family", TEMPLATES)
@pytest.mark.parametrize("has_tokens", [True, False])
def test_whatever_is_said_is_a_call(family, has_tokens):
    tokenizer = vocabulary(*marks_of(family)) if has_tokens else vocabulary()
    template = TEMPLATES[family]
    tools = [PICK, *TOOLS]
    grammar = call_grammar(tokenizer, template, [], tools, "pick")
    for seed in range(4):
        tokens = walk(tokenizer, grammar, seed, ends_of(family))
        parts = parts_of(tokenizer, template, tokens, tools)
        calls = [part for part in parts if part[0] != "thought"]
        reply = tokenizer.detokenize(tokens, special=False)
        if family in FREE:
            assert [part[1] for part in calls[:1]] in (["pick"], [reply])
            continue
        assert calls, reply
        assert {part[:2] for part in calls} == {("call", "pick")}, reply
        for part in calls:
            jsonschema.validate(json.loads(part[2]), PICK["function"]["parameters"])


@pytest.mark.parametrize("family", TEMPLATES)
@pytest.mark.parametrize("has_tokens", [True, False])
def test_calls_of_strict_tools_fit_their_schemas_wherever_they_come(family, has_tokens):
    tokenizer = vocabulary(*marks_of(family)) if has_tokens else vocabulary()
    template = TEMPLATES[family]
    written = written_of(family, template, marks_of(family)[0] if has_tokens else {})
    strict = {"type": "function", "function": {**PICK["function"], "strict": True}}
    tools = [strict, *TOOLS]
    grammar = call_grammar(tokenizer, template, [], tools)
    say = "" if written.call.startswith("{") or family == "harmony" else "Let me {see} <: "
    opening = written.begin + written.call
    final = "<|channel|>final<|message|>" if family == "harmony" else ""
    for seed in range(3):
        begin = say + opening.replace("NAME", "pick")
        ends = [*ends_of(family), written.call_end or "{}"]
        tokens = walk(tokenizer, grammar, seed, ends, begin)
        parts = parts_of(tokenizer, template, tokens, tools)
        calls = [part for part in parts if part[1] == "pick"]
        assert calls, parts
        for part in calls if family not in FREE else ():
            assert part[0] == "call", part
            jsonschema.validate(json.loads(part[2]), PICK["function"]["parameters"])
        tokens = walk(tokenizer, grammar, seed, ends, f"{final}No")
        assert parts_of(tokenizer, template, tokens, tools)[0][0] == "text"


@pytest.mark.parametrize("parallel", [True, False])
def test_several_calls_unless_they_may_not_be(parallel):
    tokenizer, template = vocabulary(), TEMPLATES["hermes"]
    grammar = call_grammar(tokenizer, template, [], TOOLS, "required", parallel)
    call = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    from qrt.structure.grammars import Grammars

    constraint = Grammars(lambda: tokenizer).constraint(grammar)
    second = f"{call}\n{call}"
    refused = None
    for i, token in enumerate(tokenizer.tokenize(second, add_special=False)):
        word = int(constraint.mask()[token // 32])
        if not word >> token % 32 & 1:
            refused = i
            break
        constraint.accept(token)
    assert refused == (None if parallel else len(call))


def test_thoughts_that_the_prompt_has_opened_come_first():
    tokenizer = vocabulary(shown=("<think>", "</think>", "<tool_call>", "</tool_call>"))
    template = TEMPLATES["hermes"] + "<think>"
    prompt = tokenizer.tokenize("<think>\n", add_special=False)
    grammar = call_grammar(tokenizer, template, prompt, TOOLS, "now")
    tokens = walk(tokenizer, grammar, 0)
    assert tokens.count(tokenizer.find("</think>")) == 1
    free = call_grammar(tokenizer, template, [], TOOLS, "now")
    first = {walk(tokenizer, free, seed)[0] for seed in range(8)}
    assert first == {tokenizer.find("<think>"), tokenizer.find("<tool_call>")}


@pytest.mark.parametrize("choice", ["auto", "none", {"type": "auto"}])
def test_a_free_choice_has_no_grammar(choice):
    assert call_grammar(vocabulary(), TEMPLATES["hermes"], [], TOOLS, choice) is None


@pytest.mark.parametrize(
    ("choice", "tools", "message"),
    [
        ("required", [], "there are no tools"),
        ("storm", TOOLS, "'storm'; expected one of auto, none, required, get_weather, now"),
        ({"type": "function", "function": {"name": "storm"}}, TOOLS, "expected one of"),
        ({"type": "function"}, TOOLS, "is .function.; expected one of"),
        (3, TOOLS, "tool_choice is 3"),
    ],
)
def test_a_choice_that_there_is_not(choice, tools, message):
    with pytest.raises(InputError, match=message):
        call_grammar(vocabulary(), TEMPLATES["hermes"], [], tools, choice)
