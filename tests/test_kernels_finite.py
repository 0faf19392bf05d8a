"""Keys and values that are not finite show in what attention gives, and in the step's fault."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from attention import BLOCKS, LAYER, Shape, attend, make_rows
from kernels import Lab


def test_values_that_are_not_finite_show(lab: Lab) -> None:
    """In all 32 dimensions of their block, in no others."""
    for kv_type, value in product(BLOCKS, (np.inf, -np.inf, np.nan)):
        shape = Shape(kv_type, 1, 1, 40, (5, 0, 0))
        rows = make_rows(shape, 3)
        rows.v[3, 0, 7] = value
        _, got = attend(lab, shape, rows)
        assert not np.isfinite(got[3:, 0, :32]).any()
        assert np.isfinite(got[3:, 0, 32:]).all()
        assert np.isfinite(got[:3]).all()


@pytest.mark.parametrize("softcap", [0.0, 5.0])
@pytest.mark.parametrize("kv_type", ["f16", "f32", "q8_0"])
@pytest.mark.parametrize("length", [5, 700])
def test_a_score_that_is_not_finite_shows(
    lab: Lab, softcap: float, kv_type: str, length: int
) -> None:
    """Whatever the exponential makes of it: in every row that sees it, and in the step's fault."""
    shape = Shape(kv_type, 1, 2, 40, (length, 0, 0), 0, softcap)
    for value in (np.inf, -np.inf, np.nan):
        rows = make_rows(shape, 3)
        rows.k[3, 0, 7] = value
        for first in (0, length - 1):
            _, got = attend(lab, shape, rows, first)
            seen = max(0, 3 - first)
            assert not np.isfinite(got[seen:]).any()
            assert np.isfinite(got[:seen]).all()
            assert lab.fault == LAYER + 1
    attend(lab, shape, make_rows(shape, 3))
    assert lab.fault == 0
