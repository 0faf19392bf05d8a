"""The flags of one generation: when it ends, how tokens are chosen, under llama.cpp's names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any

from qrt.cli.arguments import read_text
from qrt.cli.flags import in_context, in_output, in_sampling
from qrt.errors import InputError

_RANDOM_SEED = -1
_ENDLESS = (-1, -2)
_NO_BREAKERS = "none"
_BIAS = re.compile(r"(\d{1,9})([+-].+)")
_OBJECT = re.compile(r"^\s*\{")
_GRAMMAR = re.compile(r"::=|^\s*%llguidance")
_LETTERS = {
    "e": "penalties",
    "d": "dry",
    "s": "top_n_sigma",
    "k": "top_k",
    "y": "typ_p",
    "p": "top_p",
    "m": "min_p",
    "x": "xtc",
    "t": "temperature",
}
"""The steps of `samplers` as `--sampler-seq` writes them."""

_Int = int | None
_Float = float | None
_Text = str | None
_Texts = list[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateFlags:
    """When to stop and how tokens are chosen, named as in `Model.generate`; None: as there.

    The defaults of sampling that help texts name hold where the model recommends nothing.
    """

    max_tokens: Annotated[
        _Int, in_output("-n", "--predict", "--n-predict", help="Tokens at most; -1: no limit.")
    ] = None
    thinking_budget: Annotated[
        _Int, in_output("--thinking-budget", help="Tokens of thoughts at most; -1: no limit.")
    ] = None
    stop: Annotated[
        _Texts,
        in_output(
            "-r", "--reverse-prompt", metavar="TEXT", help="Stop before this text; may be repeated."
        ),
    ] = None
    json_schema: Annotated[
        _Text,
        in_output(
            *("-j", "--json-schema"),
            metavar="FILE",
            help="Answer in JSON that follows a schema: a file, or the schema itself.",
        ),
    ] = None
    grammar: Annotated[
        _Text,
        in_output(
            "--grammar",
            metavar="FILE",
            help="Hold the answer to a grammar in GBNF, or Lark: a file, or its text.",
        ),
    ] = None
    ignore_eos: Annotated[
        bool, in_output("--ignore-eos", metavar=None, help="Never let the model end.")
    ] = False
    context_shift: Annotated[
        bool,
        in_context(
            "--context-shift", metavar=None, help="When it is full, forget the oldest half."
        ),
    ] = False
    n_keep: Annotated[_Int, in_context("--keep", help="Tokens at the start never forgotten.")] = (
        None
    )
    seed: Annotated[_Int, in_sampling("-s", "--seed", help="-1 (default): a fresh one.")] = None
    temperature: Annotated[
        _Float, in_sampling("--temp", "--temperature", help="Default 0.8; 0 is greedy.")
    ] = None
    top_k: Annotated[_Int, in_sampling("--top-k", help="Default 40; 0 is off.")] = None
    top_p: Annotated[_Float, in_sampling("--top-p", help="Default 0.95; 1 is off.")] = None
    min_p: Annotated[_Float, in_sampling("--min-p", help="Default 0.05; 0 is off.")] = None
    typical_p: Annotated[
        _Float, in_sampling("--typical", "--typical-p", help="Default 1, off.")
    ] = None
    top_n_sigma: Annotated[
        _Float, in_sampling("--top-nsigma", "--top-n-sigma", help="Default -1, off.")
    ] = None
    repeat_penalty: Annotated[_Float, in_sampling("--repeat-penalty", help="Default 1, off.")] = (
        None
    )
    repeat_last_n: Annotated[
        _Int, in_sampling("--repeat-last-n", help="Tokens that penalties look at. Default 64.")
    ] = None
    presence_penalty: Annotated[
        _Float, in_sampling("--presence-penalty", help="Default 0, off.")
    ] = None
    frequency_penalty: Annotated[
        _Float, in_sampling("--frequency-penalty", help="Default 0, off.")
    ] = None
    dry_multiplier: Annotated[_Float, in_sampling("--dry-multiplier", help="Default 0, off.")] = (
        None
    )
    dry_base: Annotated[_Float, in_sampling("--dry-base", help="Default 1.75.")] = None
    dry_allowed_length: Annotated[_Int, in_sampling("--dry-allowed-length", help="Default 2.")] = (
        None
    )
    dry_penalty_last_n: Annotated[
        _Int, in_sampling("--dry-penalty-last-n", help="Default 64; -1 is all.")
    ] = None
    dry_sequence_breakers: Annotated[
        _Texts,
        in_sampling(
            "--dry-sequence-breaker", metavar="TEXT", help="In place of the four; none: no such."
        ),
    ] = None
    xtc_probability: Annotated[_Float, in_sampling("--xtc-probability", help="Default 0, off.")] = (
        None
    )
    xtc_threshold: Annotated[_Float, in_sampling("--xtc-threshold", help="Default 0.1.")] = None
    dynatemp_range: Annotated[_Float, in_sampling("--dynatemp-range", help="Default 0, off.")] = (
        None
    )
    dynatemp_exponent: Annotated[_Float, in_sampling("--dynatemp-exp", help="Default 1.")] = None
    mirostat: Annotated[
        _Int, in_sampling("--mirostat", help="1 or 2 in place of the others. Default 0, off.")
    ] = None
    mirostat_tau: Annotated[_Float, in_sampling("--mirostat-ent", help="Default 5.")] = None
    mirostat_eta: Annotated[_Float, in_sampling("--mirostat-lr", help="Default 0.1.")] = None
    samplers: Annotated[
        _Text,
        in_sampling("--samplers", metavar="NAMES", help="Steps in order, as top_k;temperature."),
    ] = None
    sampler_seq: Annotated[
        _Text,
        in_sampling(
            "--sampler-seq",
            "--sampling-seq",
            metavar="LETTERS",
            help="The same, as kt or edskypmxt.",
        ),
    ] = None
    logit_bias: Annotated[
        _Texts,
        in_sampling(
            "-l", "--logit-bias", metavar="ID+N", help="Add to a token's logit; ID-inf forbids it."
        ),
    ] = None

    def keywords(self) -> dict[str, Any]:
        """The keywords for `Model.generate` that were given. Raises InputError."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        given = {name: value for name, value in own.items() if value is not None}
        if self.sampler_seq is not None:
            given["samplers"] = list(_steps(given.pop("sampler_seq")))
        elif self.samplers is not None:
            given["samplers"] = [name for name in self.samplers.split(";") if name]
        if self.logit_bias is not None:
            given["logit_bias"] = dict(map(_bias, self.logit_bias))
        if self.dry_sequence_breakers == [_NO_BREAKERS]:
            given["dry_sequence_breakers"] = []
        if self.json_schema is not None:
            given["response_format"] = _schema(given.pop("json_schema"))
        if self.grammar is not None:
            given["grammar"] = _given(self.grammar, _GRAMMAR)
        for name in ("max_tokens", "thinking_budget"):
            if given.get(name) in _ENDLESS:
                del given[name]
        if self.seed == _RANDOM_SEED:
            del given["seed"]
        return given


def _steps(letters: Sequence[str]) -> Iterator[str]:
    for letter in letters:
        if letter not in _LETTERS:
            known = ", ".join(f"{letter} {name}" for letter, name in _LETTERS.items())
            raise InputError(f"--sampler-seq: {letter!r} is no step; known are {known}")
        yield _LETTERS[letter]


def _given(text: str, is_itself: re.Pattern[str]) -> str:
    """What was given itself, or what stands in the file of that name."""
    return text if is_itself.search(text) else read_text(text)


def _schema(text: str) -> dict[str, Any]:
    try:
        schema = json.loads(_given(text, _OBJECT))
    except (ValueError, RecursionError) as error:
        raise InputError(f"--json-schema: no JSON: {error}") from None
    if not isinstance(schema, dict):
        raise InputError('--json-schema: expected an object, as {"type": "object"}')
    return schema


def _bias(text: str) -> tuple[int, float]:
    """(token id, what is added to its logit) of "15043+1.5" or "15043-inf"."""
    found = _BIAS.fullmatch(text)
    try:
        if found:
            return int(found[1]), float(found[2])
    except ValueError:
        pass
    raise InputError(f"--logit-bias: expected an id and a number, as in 15043+1; got {text!r}")
