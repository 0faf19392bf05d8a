"""Damaged weights and values too large for a cache: an error that names the layer, or logits that
are not finite; never an answer.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from oracles import HALVES, TOKENS
from steps import Logits, Model, in_chunks, open_model, prepare, segment, step

from qrt.backends import cpu, reference
from qrt.errors import NonFiniteError
from qrt.formats.qtensor import QTensor
from qrt.graph.batch import FEW_ROWS

pytestmark = pytest.mark.usefixtures("lab")

BACKENDS = pytest.mark.parametrize("backend", [reference, cpu], ids=["reference", "cpu"])
HALF_AT = {"F16": 0, **{name: min(places) for name, places in HALVES.items() if places}}
"""Where the first half of a block stands that its values are multiplied with."""
LAYER_THAT_SEES = {
    "token_embd": 0,
    "blk.0.attn_q": 0,
    "blk.0.attn_k": 0,
    "blk.0.attn_v": 0,
    "blk.0.attn_output": 1,
    "blk.0.ffn_gate": 1,
    "blk.0.ffn_up": 1,
    "blk.0.ffn_down": 1,
    "blk.1.attn_v": 1,
    "blk.1.attn_output": None,
    "blk.1.ffn_up": None,
    "blk.1.ffn_down": None,
    "output": None,
}
"""The first layer whose attention is not finite where a weight is damaged; None: the logits are."""


def damaged(tensor: QTensor, value: float) -> QTensor:
    """A tensor with one half of its first block, or of a row that a token looks up, replaced."""
    data = tensor.data.copy()
    row = int(TOKENS[3]) * tensor.row_bytes if tensor.name.startswith("token_embd") else 0
    at = row + HALF_AT[tensor.qtype.name]
    data[at : at + 2] = np.array([value], "<f2").view(np.uint8)
    return replace(tensor, source=data)


def with_damage(path: Path, name: str, value: float) -> Model:
    graph, tensors = open_model(path)
    tensor = tensors[f"{name}.weight"]
    return graph, {**tensors, tensor.name: damaged(tensor, value)}


def outcome(backend: ModuleType, model: Model, chunk: int, kv_type: str) -> Logits | str:
    """The logits after the prompt, run in chunks, or the error."""
    with closing(prepare(backend, model, kv_type=kv_type)) as one:
        try:
            return in_chunks(one, TOKENS, chunk)
        except NonFiniteError as error:
            return str(error)


def check(found: Logits | str, layer: int | None) -> None:
    if layer is None:
        assert isinstance(found, np.ndarray)
        assert not np.isfinite(found).all(axis=1).any(), "a row has an answer"
    else:
        assert isinstance(found, str)
        assert found.startswith(f"layer {layer}: attention or a state gives values that are not")


@BACKENDS
@pytest.mark.parametrize("name", LAYER_THAT_SEES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_damaged_scale(data: Path, backend: ModuleType, name: str, value: float) -> None:
    model = with_damage(data / "quant" / "llama-Q4_K.gguf", name, value)
    chunks = (len(TOKENS),) if backend is reference else (len(TOKENS), 16, 1)
    for chunk in chunks:
        check(outcome(backend, model, chunk, "f16"), LAYER_THAT_SEES[name])


@pytest.mark.parametrize("qtype", HALF_AT)
@pytest.mark.parametrize("kv_type", ["f16", "q8_0", "q4_0"])
def test_every_format_and_cache(data: Path, qtype: str, kv_type: str) -> None:
    for name in ("token_embd", "blk.0.attn_k", "blk.0.attn_v", "blk.0.ffn_up", "blk.1.ffn_down"):
        model = with_damage(data / "quant" / f"llama-{qtype}.gguf", name, np.nan)
        for chunk in (len(TOKENS), 1):
            check(outcome(cpu, model, chunk, kv_type), LAYER_THAT_SEES[name])


@BACKENDS
@pytest.mark.parametrize("name", ["attn_k", "attn_v"])
@pytest.mark.parametrize(
    ("kv_type", "factor", "fits"),
    [
        ("f32", 1e6, True),
        ("f16", 1.0, True),
        ("f16", 1e6, False),
        ("q8_0", 1e6, True),
        ("q8_0", 1e9, False),
        ("q4_0", 1e9, False),
    ],
)
def test_values_too_large_for_the_cache(
    data: Path, backend: ModuleType, name: str, kv_type: str, factor: float, fits: bool
) -> None:
    """Every weight is finite: keys or values of layer 1 are not, once they are stored."""
    graph, tensors = open_model(data / "quant" / "llama-F32.gguf")
    tensor = tensors[f"blk.1.{name}.weight"]
    large = (tensor.dequantize() * np.float32(factor)).view(np.uint8).ravel()
    model = graph, {**tensors, tensor.name: replace(tensor, source=large)}
    found = outcome(backend, model, len(TOKENS), kv_type)
    if fits:
        assert isinstance(found, np.ndarray)
        assert np.isfinite(found).all()
    else:
        check(found, 1)


@BACKENDS
def test_only_steps_that_see_the_damage_fail(data: Path, backend: ModuleType) -> None:
    """A token whose row is damaged fails its step and what was stored of it; the rest goes on."""
    path = data / "quant" / "llama-Q8_0.gguf"
    model = with_damage(path, "token_embd", np.nan)
    with closing(prepare(backend, model)) as one, closing(prepare(backend, path)) as whole:
        sound = TOKENS[np.flatnonzero(TOKENS[3] != TOKENS)][: FEW_ROWS + 4]
        want = step(whole, segment(sound)).tobytes()
        assert step(one, segment(sound)).tobytes() == want
        bad = segment(TOKENS[:6], len(sound))
        for rows in ((bad,), (segment(sound, table=[6]), bad)):
            with pytest.raises(NonFiniteError):
                step(one, *rows)
        again = segment(sound[:6], len(sound))  # over what the failed step left in the page
        assert step(one, again).tobytes() == step(whole, again).tobytes()
