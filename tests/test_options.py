"""Options of a generation: what is wrong is said in one line, the rest becomes plain Python."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields

import numpy as np
import pytest

from qrt.errors import InputError
from qrt.runtime.checks import check_tokens
from qrt.runtime.options import GenerateOptions, options_from
from qrt.runtime.sampler import SamplingParams

NAMES = sorted(
    {f.name for c in (GenerateOptions, SamplingParams) for f in fields(c)} - {"sampling"}
)


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "bad",
    [
        10**400,
        10**5000,
        -(10**5000),
        np.array([[1, 2], [3, 4]]),
        np.array(3),
        Rude(),
        1j,
        b"x",
        {1.5},
    ],
    ids=lambda bad: type(bad).__name__,
)
def test_any_wrong_value_is_an_input_error_of_one_line(name: str, bad: object) -> None:
    def use() -> None:
        options = options_from({name: bad})  # type: ignore[misc]
        check_tokens("stop_tokens", options.stop_tokens, 100)

    with pytest.raises(InputError, match=name) as caught:
        use()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "bad",
    [
        {"dry_sequence_breakers": None},
        {"dry_sequence_breakers": {"a": 1}},
        {"logit_bias": None},
        {"logit_bias": {10**5000: 1.0}},
        {"logit_bias": {1: 10**400}},
        {"logit_bias": {1: np.zeros(2)}},
        {"logit_bias": {1: "-inf"}},
        {"stop": None},
        {"stop": {"a": 1}},
        {"temperature": None},
        {"n_keep": None},
    ],
)
def test_wrong_types(bad: Mapping[str, object]) -> None:
    (name,) = bad
    with pytest.raises(InputError, match=name) as caught:
        options_from(bad)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_sampling_is_checked() -> None:
    with pytest.raises(InputError, match="sampling must be SamplingParams, got 'hot'"):
        GenerateOptions(sampling="hot")  # type: ignore[arg-type]


def test_scalars_of_numpy_become_plain_numbers() -> None:
    options = options_from(
        {
            "max_tokens": np.int16(9),  # type: ignore[typeddict-item]
            "seed": np.uint64(2**64 - 1),  # type: ignore[typeddict-item]
            "stop": ["a", "b"],
            "stop_tokens": np.array([3, 4], np.uint8),  # type: ignore[typeddict-item]
            "temperature": np.float32(0.5),  # type: ignore[typeddict-item]
            "dry_allowed_length": np.uint8(200),  # type: ignore[typeddict-item]
            "logit_bias": {np.int32(5): np.float32(-math.inf), np.uint8(6): np.float64(1)},  # type: ignore[dict-item]
        }
    )
    params = options.sampling
    assert [type(v) for v in (options.max_tokens, options.seed)] == [int, int]
    assert [type(v) for v in (params.temperature, params.dry_allowed_length)] == [float, int]
    assert (options.seed, options.stop_strings) == (2**64 - 1, ("a", "b"))
    assert repr(params.logit_bias) == "{5: -inf, 6: 1.0}"
    assert check_tokens("stop_tokens", options.stop_tokens, 10) == [3, 4]
    assert check_tokens("stop_tokens", (np.int64(3), np.uint8(4)), 10) == [3, 4]
