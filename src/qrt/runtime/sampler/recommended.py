"""The sampling that a model file recommends: its `general.sampling.*` keys."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from qrt.errors import InputError
from qrt.runtime.checks import shown
from qrt.runtime.sampler.params import STEPS, SamplingParams

_KEY = "general.sampling."
_SEQUENCE = _KEY + "sequence"
_NAMES = {
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "xtc_probability": "xtc_probability",
    "xtc_threshold": "xtc_threshold",
    "penalty_last_n": "repeat_last_n",
    "penalty_repeat": "repeat_penalty",
    "mirostat": "mirostat",
    "mirostat_tau": "mirostat_tau",
    "mirostat_eta": "mirostat_eta",
}
_ALIASES = {
    "temp": "temperature",
    "nucleus": "top_p",
    "typical_p": "typ_p",
    "typical": "typ_p",
    "typ": "typ_p",
}
_STEP_OF = {
    "repeat_penalty": "penalties",
    "presence_penalty": "penalties",
    "frequency_penalty": "penalties",
    "repeat_last_n": "penalties",
    "dry_multiplier": "dry",
    "dry_base": "dry",
    "dry_allowed_length": "dry",
    "dry_penalty_last_n": "dry",
    "dry_sequence_breakers": "dry",
    "top_n_sigma": "top_n_sigma",
    "top_k": "top_k",
    "typical_p": "typ_p",
    "top_p": "top_p",
    "min_p": "min_p",
    "xtc_probability": "xtc",
    "xtc_threshold": "xtc",
    "temperature": "temperature",
    "dynatemp_range": "temperature",
    "dynatemp_exponent": "temperature",
}
_DRAWS = frozenset(
    (
        *(name for name, step in _STEP_OF.items() if step not in ("penalties", "dry")),
        *("mirostat", "mirostat_tau", "mirostat_eta"),
    )
)
"""What has a part in a draw, and so none where temperature 0 takes the likeliest token."""
_NOT_WITH_MIROSTAT = _STEP_OF.keys() - {"temperature"} | {"samplers"}
_MAX_SEQUENCE = 512
_KNOWN_BY = ("general.name", "general.source.repo_url")
_UNSAID: Mapping[tuple[object, ...], Mapping[str, Any]] = {
    ("pydoc", "https://github.com/python/cpython"): {"temperature": 0.0},
}
"""What holds for files that do not say it, by those keys: a model that has learned facts and little
else is right where it is surest.
"""


def recommended_sampling(metadata: Mapping[str, object], where: str) -> dict[str, Any]:
    """Keywords of `SamplingParams` with the values that a file recommends, or is known to need.

    One that cannot be used is left out, with a warning that names the file as `where`.
    """
    known = [metadata.get(key) for key in _KNOWN_BY]
    found: dict[str, Any] = {}
    if all(isinstance(value, str) for value in known):
        found.update(_UNSAID.get(tuple(known), {}))
    for key, name in _NAMES.items():
        value = metadata.get(_KEY + key)
        if value is not None:
            try:
                params = SamplingParams(**{name: _short(value)})
            except InputError as error:
                _warn(f"{where}: {_KEY}{key} is ignored: {error}")
            else:
                found[name] = getattr(params, name)
    sequence = metadata.get(_SEQUENCE)
    if sequence is not None and (steps := _steps(sequence, where)):
        found["samplers"] = steps
    return found


def with_recommended(given: Mapping[str, Any], recommended: Mapping[str, Any]) -> dict[str, Any]:
    """`given` keywords, and the recommended ones beside them that silence none of them.

    A recommended temperature of 0 would silence all that has a part in a draw.
    """
    merged = {**recommended, **given}
    if "samplers" not in given and "samplers" in recommended:
        asked = {_STEP_OF[name] for name in given if name in _STEP_OF}
        if not asked <= set(recommended["samplers"]):
            del merged["samplers"]
    is_greedy = "temperature" not in given and recommended.get("temperature", 1) <= 0
    if is_greedy and given.keys() & _DRAWS:
        del merged["temperature"]
    if "mirostat" not in given and given.keys() & _NOT_WITH_MIROSTAT:
        merged.pop("mirostat", None)
    return merged


def _short(value: Any) -> Any:
    """A float32 as the shortest number that it is the nearest to: 0.6, not 0.6000000238."""
    if isinstance(value, float) and float(np.float32(value)) == value:
        return float(str(np.float32(value)))
    return value


def _steps(sequence: object, where: str) -> tuple[str, ...]:
    """The steps of "top_k;temp" by their names in `SamplingParams`."""
    if not isinstance(sequence, str) or len(sequence) > _MAX_SEQUENCE:
        _warn(f"{where}: {_SEQUENCE} is ignored: it is {shown(sequence)}")
        return ()
    words = [word.strip().lower().replace("-", "_") for word in sequence.split(";")]
    names = [_ALIASES.get(word, word) for word in words if word]
    unknown = [name for name in names if name not in STEPS]
    if unknown:
        _warn(f"{where}: {_SEQUENCE} names steps that qrt lacks, left out: {shown(unknown)}")
    return tuple(dict.fromkeys(name for name in names if name in STEPS))


def _warn(message: str) -> None:
    logging.getLogger("qrt").warning(message)
