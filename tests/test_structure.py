"""Answers that are held to a schema, a class, a regex or a grammar."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import jsonschema
import msgspec
import numpy as np
import pydantic
import pytest
from replies import vocabulary
from schemas import SCHEMAS
from typer.testing import CliRunner

import qrt
from qrt.api import thinking
from qrt.cli.app import app
from qrt.cli.chat.settings import Settings
from qrt.runtime.constraint import Grammar
from qrt.structure import compiling, grammars, limits
from qrt.structure.deferred import Deferral
from qrt.structure.grammars import Grammars

PROMPT = "Hello"
DIGITS = {"regex": "[0-9]{3}"}


@pytest.fixture(scope="module")
def small():
    with qrt.load() as model:
        yield model


def test_every_answer_follows_its_schema(small):
    assert len(SCHEMAS) == 200

    def answer(i):
        return small.generate(
            PROMPT, response_format=SCHEMAS[i], temperature=1, seed=i, max_tokens=100
        )

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(answer, range(len(SCHEMAS))))
    whole = [i for i, one in enumerate(answers) if one.finish_reason == "stop"]
    assert len(whole) >= 195
    checker = jsonschema.FormatChecker(["ipv4", "uuid"])
    for i in whole:
        jsonschema.validate(answers[i].parsed, SCHEMAS[i], format_checker=checker)
        assert answers[i].parsed == json.loads(answers[i].text)
    assert all(one.parsed is None for one in answers if one.finish_reason == "length")


class Person(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=8)
    born: int = pydantic.Field(ge=1900, le=2000)
    pets: list[Literal["cat", "dog"]] = pydantic.Field(max_length=2)


class Point(msgspec.Struct):
    x: set[bool]
    y: Literal["up", "down"]


@dataclass
class Line:
    start: Point
    end: Point | None


@pytest.mark.parametrize("kind", [Person, Point, Line])
def test_a_class_gives_instances_of_itself(small, kind):
    for answer in (
        small.generate(PROMPT, response_format=kind, seed=1),
        small.chat([{"role": "user", "content": PROMPT}], response_format=kind, seed=1),
        *small.generate_many([PROMPT, "Bye"], response_format=kind, seed=1),
    ):
        assert isinstance(answer.parsed, kind)
        assert "_parse" not in answer.to_dict()
    with small.session() as session:
        assert isinstance(session.generate(PROMPT, response_format=kind).parsed, kind)


def test_a_class_may_refuse_what_its_schema_allows(small):
    class Never(pydantic.BaseModel):
        a: bool

        @pydantic.field_validator("a")
        @classmethod
        def no(cls, _value):
            raise ValueError("never")

    answer = small.generate(PROMPT, response_format=Never)
    with pytest.raises(qrt.InputError, match=r"the answer is no Never: .*never"):
        _ = answer.parsed


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ({"grammar": DIGITS}, "[0-9]{3}"),
        ({"grammar": 'root ::= "n" ([0-9]+)? "\\u0021"'}, "n[0-9]*!"),
        ({"grammar": '%llguidance {}\nstart: "a" B\nB: /[xy]{2}/'}, "a[xy]{2}"),
        ({"grammar": Grammar("regex", "(yes|no)")}, "yes|no"),
        ({"grammar": {"json_schema": {"const": [1]}}}, r"\[1\]"),
        ({"response_format": {"type": "json_object"}}, r"\{.*\}"),
        ({"response_format": {"type": "json_object", "schema": {"const": 3}}}, "3"),
        ({"response_format": {"type": "json_schema", "schema": {"const": 3}}}, "3"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"const": 3}}}},
            "3",
        ),
    ],
)
def test_the_forms_in_which_a_grammar_is_given(small, options, pattern):
    answer = small.generate(PROMPT, max_tokens=64, seed=3, **options)
    assert answer.finish_reason == "stop"
    assert re.fullmatch(pattern, answer.text, re.DOTALL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"response_format": int}, "response_format must be .*got <class 'int'>"),
        ({"response_format": {"type": "json_schema"}}, "must hold a JSON schema"),
        ({"response_format": {"type": "nothing"}}, "the grammar is wrong: .*nothing"),
        ({"response_format": {"uniqueItems": True}}, "Unimplemented keys: .*uniqueItems"),
        ({"response_format": {"enum": []}}, "the grammar is wrong"),
        ({"response_format": {"x": {1}}}, "the schema is no JSON"),
        ({"response_format": {"$ref": "#"}}, "no text can follow"),
        ({"grammar": "root ::= ("}, "the grammar is wrong: Expected"),
        ({"grammar": "root ::= other"}, "Rule 'other' not found"),
        ({"grammar": 'root ::= "\\ud800"'}, "no character"),
        ({"grammar": {"regex": "(?=a)b"}}, "the grammar is wrong: .*regex"),
        ({"grammar": {"regex": "\ud800"}}, "not valid Unicode"),
        ({"grammar": {"sql": "a"}}, "grammar must be"),
        ({"grammar": DIGITS, "response_format": {"type": "text"}}, "both given"),
        ({"grammar": DIGITS, "constraint": list}, "constraint is given beside"),
        ({"json_schema": {}}, "it is 'response_format' here"),
    ],
)
def test_what_is_wrong_is_told_at_once(small, options, message):
    with pytest.raises(qrt.InputError, match=message):
        small.stream(PROMPT, **options)


def nested(n, wrap, value):
    for _ in range(n):
        value = wrap(value)
    return value


def chain(n, one):
    refs = {f"d{i}": one({"$ref": f"#/$defs/d{i + 1}"}) for i in range(n)}
    return {"$ref": "#/$defs/d0", "$defs": {**refs, f"d{n}": {"type": "null"}}}


def rules(n, one, last):
    return "\n".join([one(f"a{i}", f"a{i + 1}") for i in range(n)] + [f"a{n}{last}"])


NAMES = "abcdefghijklmnopqrstuvwx"
BOMBS = {
    "large": Grammar("regex", "a" * (limits.MAX_BYTES + 1)),
    "deep schema": Grammar("json_schema", nested(101, lambda x: f'{{"items":{x}}}', "{}")),
    "deeper schema": Grammar("json_schema", nested(7000, lambda x: f'{{"items":{x}}}', "{}")),
    "deep regex": Grammar("regex", nested(101, "({})".format, "a")),
    "deep groups": Grammar("gbnf", "root ::= " + nested(30000, "({})".format, '"a"')),
    "many": Grammar("regex", "a{3000}"),
    "too many": Grammar("gbnf", 'root ::= "a"{0,1000000}'),
    "many of a pattern": Grammar("json_schema", '{"type": "string", "pattern": "^a{999999999}$"}'),
    "many of Lark": Grammar("lark", 'start: T\nT: "a"~1..1000000'),
    "many of many": Grammar("regex", "(a{1000}){1000}"),
    "rules": Grammar("gbnf", rules(4000, "{} ::= {}".format, ' ::= "a"')),
    "rules of Lark": Grammar("lark", rules(4000, "{}: {}".format, ': "a"')),
    "a class that does not end": Grammar("gbnf", "root ::= " + "a[ " * 20000),
    "every schema twice": Grammar(
        "json_schema",
        json.dumps({"allOf": [{"anyOf": [{"required": [n + m]} for m in "pq"]} for n in NAMES]}),
    ),
}
BOUNDED = {
    "references": Grammar("json_schema", json.dumps(chain(1200, lambda x: {"prefixItems": [x]}))),
    "itself": Grammar("json_schema", '{"type": "array", "items": {"$ref": "#"}}'),
    "items": Grammar("json_schema", '{"type": "array", "minItems": 1000000000}'),
    "letters": Grammar("json_schema", '{"type": "string", "maxLength": 1000000000}'),
    "backtracking": Grammar("regex", "((a+)+|(a|a)*)*b"),
    "a long text": Grammar("json_schema", json.dumps({"const": "x" * 60000})),
    "a price": Grammar("regex", "~[0-9]~5000"),
    "words of 5000": Grammar("lark", 'start: %json {"const": "~5000"}  // ~5000'),
    "left": Grammar("gbnf", 'root ::= root root | "a"'),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_grammar_that_is_too_large_is_refused_soon(small, name):
    began = time.process_time()
    with pytest.raises(qrt.InputError):
        small.stream(PROMPT, grammar=BOMBS[name])
    assert time.process_time() - began < 5


@pytest.mark.parametrize("name", BOUNDED)
def test_a_grammar_that_is_large_costs_no_more_than_it_may(small, name):
    began = time.process_time()
    answer = small.generate(PROMPT, grammar=BOUNDED[name], max_tokens=8, seed=1)
    assert answer.tokens
    assert time.process_time() - began < 5


def test_a_grammar_that_takes_too_long_is_given_up(small, monkeypatch):
    compiled, go = threading.Event(), threading.Event()

    def slow(*_):
        go.wait()
        compiled.set()

    monkeypatch.setattr(compiling, "_compiled", slow)
    monkeypatch.setattr(compiling, "DEADLINE_S", 0.05)
    monkeypatch.setattr(compiling, "_PATIENCE_S", 0.1)
    made = Grammars(lambda: small.tokenizer)
    for error in (qrt.InputError, qrt.InputError, qrt.FullError):
        with pytest.raises(error):
            made.constraint(Grammar("regex", "a"))
    go.set()
    assert compiled.wait(10)


def test_as_many_grammars_are_kept_as_there_is_room_for(small, monkeypatch):
    monkeypatch.setattr(grammars, "N_KEPT", 2)
    made, n_compiled = Grammars(lambda: small.tokenizer), []
    compiled = made._compiler.compiled
    made._compiler.compiled = lambda *of: n_compiled.append(of) or compiled(*of)
    for text in ("a", "b", "a", "c", "a", "b"):
        made.constraint(Grammar("regex", text))
    assert [grammar.text for grammar, _ in n_compiled] == ["a", "b", "c", "b"]


def test_no_text_has_a_special_token_but_a_grammar_may_name_one(small):
    tokenizer = small.tokenizer
    marks = set(tokenizer.mark_ids())
    assert tokenizer.eog_ids <= marks
    anything = small._core.grammars.constraint(Grammar("regex", r"(.|\n)*"))
    bits = np.unpackbits(anything.mask().view(np.uint8), bitorder="little")
    allowed = set(np.flatnonzero(bits).tolist())
    assert allowed & marks == set(tokenizer.eog_ids)
    assert len(allowed) > 0.9 * small.info.n_vocab
    name = next(tokenizer.piece(i) for i in sorted(marks) if tokenizer.is_control(i))
    spelled = small.generate(PROMPT, response_format={"const": name})
    assert spelled.parsed == name
    assert not set(spelled.tokens) & marks
    named = small.generate(PROMPT, grammar=f'%llguidance {{}}\nstart: "a" {name} "b"')
    assert set(named.tokens) & marks


def test_forced_tokens_are_those_that_would_be_sampled(small):
    held = small._core.grammars
    grammar = Grammar("json_schema", json.dumps(SCHEMAS[1] | {"title": "forced"}))

    class Unforced:
        def __init__(self):
            self.inner = held.constraint(grammar)
            self.mask, self.accept = self.inner.mask, self.inner.accept

        forced = staticmethod(list)

        @property
        def is_complete(self):
            return self.inner.is_complete

    for seed in range(5):
        skipped = small.generate(PROMPT, grammar=grammar, seed=seed, temperature=1)
        sampled = small.generate(PROMPT, constraint=Unforced, seed=seed, temperature=1)
        assert skipped.tokens == sampled.tokens
        assert skipped.text == sampled.text
        free = [a for a, b in zip(skipped.logprobs, sampled.logprobs, strict=True) if a == b]
        assert 0 < len(free) < len(skipped.tokens)


def test_without_the_package_the_extra_is_named(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "llguidance", None)
    small._core.grammars = Grammars(lambda: small.tokenizer)
    with pytest.raises(qrt.InputError, match=r"pip install 'qrt\[grammar\]'"):
        small.generate(PROMPT, grammar=DIGITS)


def test_an_answer_behind_thoughts_is_held_and_read_alone(small, monkeypatch):
    vowels = Deferral(True, frozenset(), re.compile(rb"[aeiou]$"))
    monkeypatch.setattr(thinking, "deferral_of", lambda *_: vowels)
    grammar, plain = {"enum": [[1, "one"], [1, "two"]]}, small.generate(PROMPT, seed=4)
    for seed in range(4):
        answer = small.generate(PROMPT, response_format=grammar, seed=seed, max_tokens=200)
        found = re.fullmatch(r"(.*[aeiou])(\[1,\"(one|two)\"\])", answer.text, re.DOTALL)
        assert found, answer.text
        assert answer.parsed == json.loads(found[2])
    assert answer.text != plain.text


@pytest.mark.parametrize(
    ("prompt", "template", "is_open", "opening"),
    [
        ("<|im_start|>assistant\n", "{{ '<think>' }}", False, ["<think>"]),
        ("<|im_start|>assistant\n", "no thoughts", None, []),
        ("<|im_start|>assistant\n<think>\n", "{{ '<think>' }}", True, []),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", "{{ '<think>' }}", None, []),
        ("plain text", "{{ '<think>' }}", None, []),
        ("<|start|>assistant", "<|channel|>", True, []),
        (
            "<|start|>assistant<|channel|>final<|message|>",
            "<|channel|>",
            None,
            [],
        ),
    ],
)
def test_where_a_reply_may_think_first(prompt, template, is_open, opening):
    marks = "<|im_start|>", "<|start|>", "<|channel|>", "<|message|>"
    tokenizer = vocabulary(marks, ("<think>", "</think>"))
    ids = [5, *tokenizer.tokenize(prompt, add_special=False, parse_special=True)]
    found = thinking.deferral_of(tokenizer, template, ids)
    assert (found and found.is_open) is is_open
    if found is not None:
        assert found.opening == {tokenizer.find(mark) for mark in opening}


def invoke(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


def test_flags_hold_an_answer(tmp_path):
    schema, grammar = tmp_path / "schema.json", tmp_path / "grammar.gbnf"
    schema.write_text(json.dumps(SCHEMAS[1]))
    grammar.write_text('root ::= "yes" | "no"')
    for given in (("--json-schema", schema), ("-j", schema.read_text()), ("-jf", schema)):
        result = invoke("run", "Hello", *given)
        assert (result.exit_code, result.stderr) == (0, "")
        jsonschema.validate(json.loads(result.stdout), SCHEMAS[1])
    for given in (
        ("--grammar", grammar),
        ("--grammar-file", grammar),
        ("--grammar", "root ::= [x]"),
    ):
        result = invoke("complete", "-p", "Is it so?", *given)
        assert (result.exit_code, result.stdout) in [(0, word) for word in ("yes", "no", "x")]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("-j", "{"), "--json-schema: no JSON"),
        (("-j", "no/such/file"), "no/such/file: cannot be read"),
        (("--grammar", "no/such/file"), "no/such/file: cannot be read"),
        (("--grammar", "root ::= ("), "the grammar is wrong"),
        (("--grammar", "root ::= [x]", "-j", "{}"), "both given"),
    ],
)
def test_a_wrong_flag_is_one_line(flags, message):
    result = invoke("run", "Hello", *flags)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_chat_is_held_to_its_flags_whatever_is_set():
    settings = Settings({"response_format": {"const": 1}, "top_k": 3})
    settings.set("temperature", "0.5")
    assert settings.given["response_format"] == {"const": 1}
    assert settings.given["temperature"] == 0.5
