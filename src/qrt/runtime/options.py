"""What a caller may ask of one generation, and its checks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, TypedDict, cast

from qrt.errors import InputError
from qrt.runtime.checks import INT_MAX, check_bool, check_float, check_int, check_strings, shown
from qrt.runtime.constraint import ConstraintFactory
from qrt.runtime.foreign import INSTEAD_GENERATING, OF_GENERATING, unknown_option
from qrt.runtime.hooks import LogitsProcessor, Stopping, check_hooks
from qrt.runtime.lora import checked_lora
from qrt.runtime.records import PromptProgress
from qrt.runtime.rng import MAX_SEED
from qrt.runtime.sampler import SamplingParams, with_recommended

_INTS = {
    "max_tokens": (1, INT_MAX),
    "seed": (0, MAX_SEED),
    "n_keep": (0, INT_MAX),
    "thinking_budget": (0, INT_MAX),
    "logprobs": (0, INT_MAX),
    "priority": (-INT_MAX, INT_MAX),
}
_OPTIONAL = ("max_tokens", "seed", "thinking_budget")
_MAX_SECONDS = 1e9
_MAX_STOPS = 16
_MAX_STOP_LEN = 256
_MAX_SALT_LEN = 1024


class GenerateKeywords(TypedDict, total=False):
    """The keywords of generate, stream, chat and stream_chat: those of `GenerateOptions` but
    `sampling`, and those of `SamplingParams`, where they are explained."""

    max_tokens: int | None
    thinking_budget: int | None
    stop: str | Sequence[str]
    stop_tokens: Sequence[int]
    seed: int | None
    ignore_eos: bool
    context_shift: bool
    n_keep: int
    cancel: threading.Event | None
    logprobs: int
    sampled_logprobs: bool
    logits_processors: Sequence[LogitsProcessor]
    stopping: Sequence[Stopping]
    on_prompt: Callable[[PromptProgress], None] | None
    constraint: ConstraintFactory | None
    cache_prompt: bool
    cache_salt: str
    lora: Mapping[str, float] | None
    priority: int
    timeout: float | None
    answer_timeout: float | None
    samplers: tuple[str, ...]
    logit_bias: dict[int, float]
    repeat_penalty: float
    presence_penalty: float
    frequency_penalty: float
    repeat_last_n: int
    dry_multiplier: float
    dry_base: float
    dry_allowed_length: int
    dry_penalty_last_n: int
    dry_sequence_breakers: tuple[str, ...]
    top_n_sigma: float
    top_k: int
    typical_p: float
    top_p: float
    min_p: float
    xtc_probability: float
    xtc_threshold: float
    temperature: float
    dynatemp_range: float
    dynatemp_exponent: float
    min_keep: int
    mirostat: int
    mirostat_tau: float
    mirostat_eta: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateOptions:
    """One generation's limits. Every value is checked: `InputError` names what is wrong.

    max_tokens: tokens sampled at most; None: until the model ends or the context is full.
    thinking_budget: tokens of thoughts at most; then the mark that ends thoughts is put behind
        them, and the answer follows. None: as many as the model likes.
    stop: strings that end the answer and are not part of it; stop_tokens: ids that end it.
    seed: of the random numbers; None: the model's, or a fresh one, which the result names.
    ignore_eos: never choose a token that ends the answer.
    context_shift: when the context is full, forget the oldest half of what follows the first
        `n_keep` tokens (a BOS always stays) and go on, instead of ending with "length".
    cancel: once set, the generation ends before its next step, without a last record.
    logprobs: how many of the likeliest tokens each record lists in `top_logprobs`.
    sampled_logprobs: whether log probabilities are those with which tokens are drawn, after all
        steps of the sampler, which may leave fewer to list; otherwise the model's own.
    logits_processors: functions (ids, logits) -> logits, called in turn before all sampling: ids
        of prompt and answer so far, logits (n_vocab,) float32, a copy that may be changed; -inf
        forbids a token.
    stopping: functions (ids, text) -> bool, called after each token: ids of prompt and answer,
        text of the answer; the first that is true ends it with "stop".
    on_prompt: called with how far the prompt is: before its first step, and after each.
    These run in whichever thread computes the step, which waits for them; what they raise ends this
    generation alone and is raised to its caller.
    constraint: makes what an answer is held to, anew for each generation; see `Constraint`.
    cache_prompt: whether what is stored of the prompt, by whomever, is used instead of computing it
        again, and what this generation computes stays stored for others; its results are the same.
    cache_salt: only generations of equal salt share what is stored.
    lora: how much of each adapter is used, by name, as {"style": 0.5}; nothing of others. None: as
        the model says.
    priority: of those that wait for room the highest begin first, the oldest among equals; where
        memory runs out, those of the lowest wait.
    timeout: seconds from its begin; past them DeadlineError is raised if there is no token yet,
        else the answer ends with "length", or without a last record while it waits for memory.
    answer_timeout: the same in seconds from the first token.
    """

    max_tokens: int | None = None
    thinking_budget: int | None = None
    stop: str | Sequence[str] = ()
    stop_tokens: Sequence[int] = ()
    seed: int | None = None
    ignore_eos: bool = False
    context_shift: bool = False
    n_keep: int = 0
    cancel: threading.Event | None = None
    logprobs: int = 0
    sampled_logprobs: bool = False
    logits_processors: Sequence[LogitsProcessor] = ()
    stopping: Sequence[Stopping] = ()
    on_prompt: Callable[[PromptProgress], None] | None = None
    constraint: ConstraintFactory | None = None
    cache_prompt: bool = True
    cache_salt: str = ""
    lora: Mapping[str, float] | None = None
    priority: int = 0
    timeout: float | None = None
    answer_timeout: float | None = None
    sampling: SamplingParams = field(default_factory=SamplingParams)

    def __post_init__(self) -> None:
        for name, (low, high) in _INTS.items():
            value = getattr(self, name)
            if value is not None or name not in _OPTIONAL:
                object.__setattr__(self, name, check_int(name, value, low, high))
        for name in ("ignore_eos", "context_shift", "cache_prompt", "sampled_logprobs"):
            check_bool(name, getattr(self, name))
        for name in ("timeout", "answer_timeout"):
            if (seconds := getattr(self, name)) is not None:
                object.__setattr__(self, name, check_float(name, seconds, 0, _MAX_SECONDS))
        for name in ("logits_processors", "stopping"):
            object.__setattr__(self, name, check_hooks(name, getattr(self, name)))
        object.__setattr__(self, "stop", self.stop_strings)
        if not isinstance(self.cache_salt, str) or len(self.cache_salt) > _MAX_SALT_LEN:
            expected = f"a string of at most {_MAX_SALT_LEN} characters"
            raise InputError(f"cache_salt must be {expected}, got {shown(self.cache_salt)}")
        if self.lora is not None:
            object.__setattr__(self, "lora", checked_lora(self.lora))
        if not isinstance(self.sampling, SamplingParams):
            raise InputError(f"sampling must be SamplingParams, got {shown(self.sampling)}")
        if self.cancel is not None and not isinstance(self.cancel, threading.Event):
            raise InputError(f"cancel must be a threading.Event, got {shown(self.cancel)}")
        for name in ("constraint", "on_prompt"):
            function = getattr(self, name)
            if function is not None and not callable(function):
                raise InputError(f"{name} must be a function, got {shown(function)}")

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """`stop` as a tuple."""
        strings = (self.stop,) if isinstance(self.stop, str) else self.stop
        return check_strings("stop", strings, _MAX_STOPS, _MAX_STOP_LEN)


_SAMPLING_NAMES = frozenset(f.name for f in fields(SamplingParams))
_OWN_NAMES = frozenset(f.name for f in fields(GenerateOptions)) - {"sampling"}


def options_from(
    keywords: GenerateKeywords, recommended: Mapping[str, Any] = MappingProxyType({})
) -> GenerateOptions:
    """The checked options of a call; `recommended` sampling where it says nothing. Raises
    InputError for an unknown keyword."""
    given = cast(dict[str, Any], keywords)
    for name in given.keys() - _SAMPLING_NAMES - _OWN_NAMES:
        known = _SAMPLING_NAMES | _OWN_NAMES
        raise unknown_option(name, known, OF_GENERATING, INSTEAD_GENERATING)
    sampling = {name: given[name] for name in given.keys() & _SAMPLING_NAMES}
    own = {name: given[name] for name in given.keys() & _OWN_NAMES}
    sampling = with_recommended(sampling, recommended)
    return GenerateOptions(**own, sampling=SamplingParams(**sampling))
