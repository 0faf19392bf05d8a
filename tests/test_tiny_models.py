"""Every architecture on tiny random models: logits of others, and nothing of a file passed over."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from kernels import nmse
from oracles import TESTS
from steps import Logits, Model, prepare, segment, step
from tiny_models import MODELS, N_CTX, TOKENS, arch_of, metadata_of, tensors_of

from qrt.arch import architecture_names, build_graph
from qrt.arch.source import place
from qrt.backends import cpu, reference
from qrt.errors import ArchError, BackendError
from qrt.formats.qtensor import QTensor

MANY_BLOCKS = 6
"""More are alike."""


def build(metadata: Mapping[str, object], tensors: Mapping[str, QTensor]) -> Model:
    return build_graph(metadata, tensors, "tiny", N_CTX), tensors


def logits(model: Model, backend=reference) -> Logits:
    n_groups = len(model[0].states)
    executor = prepare(backend, model, kv_type="f32", capacities=(8,) * n_groups, n_ctx=N_CTX)
    rows = segment(TOKENS)
    result = step(executor, type(rows)(rows.tokens, 0, rows.tables * n_groups, rows.logit_rows))
    executor.close()
    return result


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_others(name: str) -> None:
    model = build(metadata_of(name), tensors_of(name))
    expected = np.load(TESTS / "data/tiny" / f"{name}.npz")["logits"]
    got = logits(model)
    assert nmse(got, expected) < 1e-6
    try:
        on_cpu = logits(model, cpu)
    except BackendError:
        return  # it has no kernel for one of the ops
    assert nmse(on_cpu, got) < 1e-6


@pytest.mark.parametrize("name", MODELS)
def test_every_tensor_and_every_key_matters(name: str) -> None:
    metadata, tensors = metadata_of(name), tensors_of(name)
    whole, expected = build(metadata, tensors)[0], logits(build(metadata, tensors))
    prefix = f"{arch_of(name)}."
    some = [name for name in tensors if (place(name)[0] or 0) < MANY_BLOCKS]
    for gone in [*some, *(key for key in metadata if key.startswith(prefix))]:
        harmless = gone.removeprefix(prefix) in MODELS[name].harmless
        try:
            model = build(
                {key: value for key, value in metadata.items() if key != gone},
                {key: value for key, value in tensors.items() if key != gone},
            )
        except ArchError:
            continue
        if harmless:
            assert model[0].ops == whole.ops, gone
        else:
            assert nmse(logits(model), expected) > 1e-6, gone


def test_every_architecture_has_a_tiny_model() -> None:
    assert {arch_of(name) for name in MODELS} == set(architecture_names())
