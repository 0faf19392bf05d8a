"""Every knob of the sampler, with llama.cpp's names and defaults, and the limits of each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real

from qrt.errors import InputError
from qrt.runtime.checks import INT_MAX, check_float, check_int, check_strings, shown

_FLOATS = {
    "temperature": (-100.0, 100.0),
    "dynatemp_range": (0.0, 100.0),
    "dynatemp_exponent": (0.0, 100.0),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "typical_p": (0.0, 1.0),
    "top_n_sigma": (-1.0, 100.0),
    "xtc_probability": (0.0, 1.0),
    "xtc_threshold": (0.0, 1.0),
    "repeat_penalty": (0.01, 100.0),
    "presence_penalty": (-100.0, 100.0),
    "frequency_penalty": (-100.0, 100.0),
    "dry_multiplier": (0.0, 100.0),
    "dry_base": (1.0, 100.0),
    "mirostat_tau": (0.0, 100.0),
    "mirostat_eta": (0.0, 10.0),
}
_INTS = {
    "top_k": (-1, INT_MAX),
    "min_keep": (0, INT_MAX),
    "repeat_last_n": (-1, INT_MAX),
    "dry_allowed_length": (1, INT_MAX),
    "dry_penalty_last_n": (-1, INT_MAX),
    "mirostat": (0, 2),
}
STEPS = (
    "penalties",
    "dry",
    "top_n_sigma",
    "top_k",
    "typ_p",
    "top_p",
    "min_p",
    "xtc",
    "temperature",
)
"""The steps of the chain by llama.cpp's names, in the order in which they run by default."""
MAX_BIAS = 1000.0
_MAX_STEP_LEN = 40
_MAX_BREAKERS = 64
_MAX_BREAKER_LEN = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How a token is chosen from logits. Every value is checked: `InputError` names what is wrong.

    The steps run in the order of `samplers`, by default that in which they stand here; "off" is the
    value that skips a step, and one that `samplers` leaves out is skipped too.

    samplers: steps by llama.cpp's names: penalties, dry, top_n_sigma, top_k, typ_p, top_p, min_p,
        xtc, temperature; each at most once.
    logit_bias: token id -> amount added to its logit; -inf forbids the token.
    repeat_penalty (off 1), presence_penalty, frequency_penalty (off 0): push down the tokens among
        the last `repeat_last_n` of prompt and answer (0 none, -1 all).
    dry_*: push down the token that would continue a repetition longer than `dry_allowed_length`,
        by `dry_multiplier * dry_base ** excess` (off 0). A repetition does not reach across a
        string of `dry_sequence_breakers`.
    top_n_sigma: keep logits within n standard deviations of the largest (off <= 0; Tang 2024).
    top_k: keep the k largest (off <= 0).
    typical_p: keep what is closest to the expected surprise (off 1; Meister et al. 2022).
    top_p: keep the fewest tokens that hold this probability (off 1; Holtzman et al. 2019).
    min_p: keep tokens of at least this share of the largest probability (off 0).
    xtc_*: with `xtc_probability`, drop all but the last of the tokens above `xtc_threshold`.
    temperature: divides the logits; <= 0 takes the largest logit after the penalties, the lowest
        id of equals. With `dynatemp_range` > 0 it moves with the entropy within +- that range, but
        not below 0; so 0 is then not the largest logit.
    min_keep: tokens that typical_p, top_p, min_p and xtc leave at least.
    mirostat: 1 or 2 replace all steps but logit_bias and temperature by a control loop that keeps
        the surprise at `mirostat_tau` bits (Basu et al. 2020).
    """

    samplers: tuple[str, ...] = STEPS
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repeat_last_n: int = 64
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = 64
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    top_n_sigma: float = -1.0
    top_k: int = 40
    typical_p: float = 1.0
    top_p: float = 0.95
    min_p: float = 0.05
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    temperature: float = 0.8
    dynatemp_range: float = 0.0
    dynatemp_exponent: float = 1.0
    min_keep: int = 0
    mirostat: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1

    def __post_init__(self) -> None:
        for name, (low, high) in _FLOATS.items():
            object.__setattr__(self, name, check_float(name, getattr(self, name), low, high))
        for name, (least, most) in _INTS.items():
            object.__setattr__(self, name, check_int(name, getattr(self, name), least, most))
        name, breakers = "dry_sequence_breakers", self.dry_sequence_breakers
        strings = check_strings(name, breakers, _MAX_BREAKERS, _MAX_BREAKER_LEN)
        object.__setattr__(self, name, strings)
        samplers = check_strings("samplers", self.samplers, len(STEPS), _MAX_STEP_LEN)
        if len(set(samplers)) < len(samplers) or not set(samplers) <= set(STEPS):
            raise InputError(
                f"samplers must be some of {', '.join(STEPS)}, got {shown(self.samplers)}"
            )
        object.__setattr__(self, "samplers", samplers)
        if not isinstance(self.logit_bias, Mapping):
            raise InputError(
                f"logit_bias must map token ids to numbers, got {shown(self.logit_bias)}"
            )
        biases = {
            check_int("a token id in logit_bias", token, 0, INT_MAX): _checked_bias(token, bias)
            for token, bias in self.logit_bias.items()
        }
        object.__setattr__(self, "logit_bias", biases)


def _checked_bias(token: object, bias: object) -> float:
    if isinstance(bias, Real) and bias == -math.inf:
        return -math.inf
    return check_float(f"logit_bias of token {shown(token)}", bias, -MAX_BIAS, MAX_BIAS)
