"""The steps of the chain by name: when one does something, and what it does to the candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qrt.runtime.sampler import cut
from qrt.runtime.sampler.candidates import Candidates
from qrt.runtime.sampler.draw import dynamic_temperature, heat
from qrt.runtime.sampler.params import SamplingParams

PENALTIES = frozenset({"penalties", "dry"})
"""Steps that change logits by what was said before."""


def _cool(c: Candidates, p: SamplingParams) -> Candidates:
    temperature = p.temperature
    if p.dynatemp_range > 0:
        temperature = dynamic_temperature(c, temperature, p.dynatemp_range, p.dynatemp_exponent)
    if temperature <= 0:
        best = int(c.logits.argmax())
        return c.take(slice(best, best + 1))
    return heat(c, temperature)


CUTS: Mapping[str, Callable[[Candidates, SamplingParams], Candidates]] = {
    "top_n_sigma": lambda c, p: cut.top_n_sigma(c, p.top_n_sigma),
    "top_k": lambda c, p: cut.top_k(c, p.top_k),
    "typ_p": lambda c, p: cut.typical(c, p.typical_p, p.min_keep),
    "top_p": lambda c, p: cut.top_p(c, p.top_p, p.min_keep),
    "min_p": lambda c, p: cut.min_p(c, p.min_p, p.min_keep),
    "xtc": lambda c, p: cut.xtc(c, p.xtc_threshold, p.min_keep),
    "temperature": _cool,
}
"""What a step does; whether xtc runs is drawn by lot for each token."""

_IS_ON: Mapping[str, Callable[[SamplingParams], bool]] = {
    "penalties": lambda p: (
        p.repeat_last_n != 0
        and (p.repeat_penalty, p.presence_penalty, p.frequency_penalty) != (1, 0, 0)
    ),
    "dry": lambda p: p.dry_multiplier != 0 and p.dry_penalty_last_n != 0,
    "top_n_sigma": lambda p: p.top_n_sigma > 0,
    "top_k": lambda p: p.top_k > 0,
    "typ_p": lambda p: p.typical_p < 1,
    "top_p": lambda p: p.top_p < 1,
    "min_p": lambda p: p.min_p > 0,
    "xtc": lambda p: p.xtc_threshold <= 0.5 and p.xtc_probability > 0,
    "temperature": lambda p: p.temperature != 1 or p.dynatemp_range > 0,
}


def active_steps(params: SamplingParams) -> tuple[str, ...]:
    """The steps that do something, in order; none where mirostat replaces them."""
    if params.mirostat:
        return ()
    return tuple(name for name in params.samplers if _IS_ON[name](params))


def is_greedy(params: SamplingParams) -> bool:
    """Whether the largest logit is taken, whatever the steps that only drop tokens leave."""
    if params.temperature > 0:
        return False
    return bool(params.mirostat) or (
        "temperature" in params.samplers and params.dynatemp_range == 0
    )
