"""Fields that the bodies of several APIs share, and the options of a generation they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from qrt.api.asking import AnswerKeywords
from qrt.runtime.checks import INT_MAX
from qrt.runtime.rng import MAX_SEED
from qrt.server.errors import RefusedError

if TYPE_CHECKING:
    from qrt.runtime.lora import Adapter

Count = Annotated[int, msgspec.Meta(ge=-1, le=INT_MAX)]
"""Tokens at most; -1: no limit."""

_SAME = (
    *("ignore_eos", "context_shift", "n_keep", "cache_prompt", "priority", "timeout", "grammar"),
    *("repeat_penalty", "presence_penalty", "frequency_penalty", "repeat_last_n"),
    *("dry_multiplier", "dry_base", "dry_allowed_length", "dry_penalty_last_n"),
    *("dry_sequence_breakers", "top_n_sigma", "top_k", "typical_p", "top_p", "min_p"),
    *("xtc_probability", "xtc_threshold", "temperature", "dynatemp_range", "dynatemp_exponent"),
    *("min_keep", "mirostat", "mirostat_tau", "mirostat_eta", "samplers"),
)
"""Fields that are options by the same names."""


class AdapterScale(msgspec.Struct):
    """How much of an adapter is used, by its number."""

    id: int
    scale: float


class SamplingFields(msgspec.Struct, kw_only=True):
    """How tokens are chosen and when an answer ends, by llama.cpp's names; null is not given."""

    stop: str | list[str] | None = None
    seed: int | None = None
    ignore_eos: bool | None = None
    context_shift: bool | None = None
    n_keep: int | None = None
    cache_prompt: bool | None = None
    priority: int | None = None
    timeout: float | None = None
    grammar: str | None = None
    logit_bias: dict[str, float | bool] | list[tuple[int | str, float | bool]] | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repeat_last_n: int | None = None
    dry_multiplier: float | None = None
    dry_base: float | None = None
    dry_allowed_length: int | None = None
    dry_penalty_last_n: int | None = None
    dry_sequence_breakers: list[str] | None = None
    top_n_sigma: float | None = None
    top_k: int | None = None
    typical_p: float | None = None
    top_p: float | None = None
    min_p: float | None = None
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    temperature: float | None = None
    dynatemp_range: float | None = None
    dynatemp_exponent: float | None = None
    min_keep: int | None = None
    mirostat: int | None = None
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    samplers: list[str] | None = None
    return_progress: bool | None = None
    id_slot: Annotated[int, msgspec.Meta(ge=-1, le=INT_MAX)] | None = None
    lora: list[AdapterScale] | None = None


def keywords_of(body: SamplingFields, n_vocab: int) -> AnswerKeywords:
    """The options that a body gives; ids of its logit_bias are below `n_vocab`.

    Raises RefusedError.
    """
    given: dict[str, Any] = {
        name: value for name in _SAME if (value := getattr(body, name, None)) is not None
    }
    stops = [body.stop] if isinstance(body.stop, str) else body.stop or []
    if stops := [text for text in stops if text]:
        given["stop"] = stops
    if body.seed is not None and body.seed != -1:
        given["seed"] = body.seed % (MAX_SEED + 1)
    if body.logit_bias:
        pairs = body.logit_bias.items() if isinstance(body.logit_bias, dict) else body.logit_bias
        given["logit_bias"] = dict(_bias(token, bias, n_vocab) for token, bias in pairs)
    if body.lora:
        given["lora"] = body.lora
    return given  # type: ignore[return-value]


def by_name(scales: Iterable[AdapterScale], adapters: Sequence[Adapter]) -> dict[str, float]:
    """What a body says of adapters, by their names. Raises RefusedError for one there is not."""
    found = {}
    for one in scales:
        if not 0 <= one.id < len(adapters):
            there = (
                f"those there are have 0 to {len(adapters) - 1}" if adapters else "there is none"
            )
            raise RefusedError(400, f"lora: no adapter has the id {one.id}; {there}", param="lora")
        found[adapters[one.id].name] = one.scale
    return found


def _bias(token: int | str, bias: float | bool, n_vocab: int) -> tuple[int, float]:
    text = str(token)
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1
    if not 0 <= number < n_vocab:
        raise RefusedError(
            400,
            f"logit_bias: {text[:20]!r} is no token id; expected 0 to {n_vocab - 1}",
            param="logit_bias",
        )
    if bias is True:
        raise RefusedError(400, "logit_bias: expected a number, or false", param="logit_bias")
    return number, float("-inf") if bias is False else float(bias)


def formatted(keywords: AnswerKeywords, *formats: dict[str, Any] | None) -> AnswerKeywords:
    """With the first of the formats that is given and more than text as `response_format`."""
    given = next((one for one in formats if one is not None), None)
    if given is None or given.get("type") == "text":
        return keywords
    return {**keywords, "response_format": given}


def limited(keywords: AnswerKeywords, *limits: int | None) -> AnswerKeywords:
    """With the first of the limits that is given as `max_tokens`; -1 is none."""
    n_tokens = _first(limits)
    return keywords if n_tokens < 0 else {**keywords, "max_tokens": n_tokens}


def paced(keywords: AnswerKeywords, *budgets: int | None) -> AnswerKeywords:
    """The same as `thinking_budget`."""
    n_tokens = _first(budgets)
    return keywords if n_tokens < 0 else {**keywords, "thinking_budget": n_tokens}


def _first(limits: Iterable[int | None]) -> int:
    return next((limit for limit in limits if limit is not None), -1)
