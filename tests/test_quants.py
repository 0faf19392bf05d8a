"""Block formats: the same bits as gguf-py, both ways."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import quants as peer
from numpy.typing import NDArray

from qrt.formats.gguf import open_gguf
from qrt.formats.qtensor import QTensor
from qrt.formats.qtype import QType
from qrt.formats.quants import QTYPE_BY_ID, QTYPES, RAW_TYPES, WEIGHT_TYPES
from qrt.formats.quants.grids import LEVELS, grid
from qrt.formats.quants.others import ACTIVATIONS, IK, REMOVED, why_not

SCALE_BYTES = {  # where the f16 scales of a block stand
    "Q4_0": (0,),
    "Q4_1": (0, 2),
    "Q5_0": (0,),
    "Q5_1": (0, 2),
    "Q8_0": (0,),
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
    "IQ4_NL": (0,),
    "IQ4_XS": (0,),
    "IQ3_S": (0,),
    "IQ3_XXS": (0,),
    "IQ2_S": (0,),
    "IQ2_XS": (0,),
    "IQ2_XXS": (0,),
    "IQ1_S": (0,),
    "TQ2_0": (64,),
    "TQ1_0": (52,),
    "Q2_0": (0,),
    "Q1_0": (0,),
}
SCALES = np.array([0, -0.0, 1, -1, 6e-8, -5e-6, 6.1e-5, 0.0123, -3.7, 999, 65504, -65504], "<f2")
UNKNOWN_TO_PEER = ("Q1_0", "Q2_0")
KNOWN = [t for t in WEIGHT_TYPES if t.name not in UNKNOWN_TO_PEER]


def random_blocks(qtype: QType, n: int) -> NDArray[np.uint8]:
    """Random bytes with finite scales: zeros of both signs, subnormals, the largest."""
    rng = np.random.default_rng(qtype.id)
    blocks = rng.integers(0, 256, (n, qtype.block_bytes), dtype=np.uint8)
    for at in SCALE_BYTES.get(qtype.name, ()):
        scales = np.where(rng.random(n) < 0.5, rng.choice(SCALES, n), rng.normal(size=n) / 100)
        blocks[:, at : at + 2] = scales.astype("<f2")[:, None].view(np.uint8)
    if qtype.name in ("F32", "F16", "BF16", "IQ1_M"):
        blocks[:, -1] &= 0xBF  # no infinities and NaNs
    if qtype.name == "MXFP4":
        blocks[:, 0] %= 252  # 12 * 2**123 is finite
    return blocks


def peer_type(qtype: QType) -> gguf.GGMLQuantizationType:
    return gguf.GGMLQuantizationType(qtype.id)


def assert_same_bits(got: NDArray[np.float32], want: NDArray[np.float32]) -> None:
    assert got.dtype == want.dtype == np.float32
    np.testing.assert_array_equal(got.ravel().view(np.uint32), want.ravel().view(np.uint32))


@pytest.mark.parametrize("qtype", KNOWN, ids=lambda t: t.name)
def test_dequantize_random_blocks(qtype: QType) -> None:
    blocks = random_blocks(qtype, 1536)
    tensor = QTensor("t", qtype, (3, 512 * qtype.block_size), blocks.reshape(-1))
    got = tensor.dequantize()
    assert got.shape == tensor.shape
    assert np.isfinite(got).all()
    assert_same_bits(got, peer.dequantize(blocks, peer_type(qtype)))


@pytest.mark.parametrize("name", [t.name for t in KNOWN if t.name != "F16"])
def test_dequantize_model(data: Path, name: str) -> None:
    path = data / "quant" / f"llama-{name}.gguf"
    reader = gguf.GGUFReader(path)
    with open_gguf(path) as file:
        assert name in {t.qtype.name for t in file.tensors.values()}
        assert list(file.tensors) == [t.name for t in reader.tensors]
        for theirs in reader.tensors:
            ours = file.tensors[theirs.name]
            assert ours.shape == tuple(reversed(theirs.shape.tolist()))
            assert_same_bits(ours.dequantize(), peer.dequantize(theirs.data, theirs.tensor_type))


@pytest.mark.parametrize(
    ("name", "packed", "levels"),
    [("Q1_0", 0b10110001, [1, -1, -1, -1, 1, 1, -1, 1]), ("Q2_0", 0b11100100, [-1, 0, 1, 2])],
)
def test_dequantize_worked_blocks(name: str, packed: int, levels: list[int]) -> None:
    """As ggml-quants.c has it: the lowest bits of a byte come first, bytes follow each other."""
    qtype = QTYPES[name]
    blocks = np.full((2, 18), packed, np.uint8)
    blocks[:, :2] = np.array([[0.5], [-3]], "<f2").view(np.uint8)
    blocks[1, 3] = 0
    want = np.tile(np.float32(levels), (2, 16)) * np.float32([[0.5], [-3]])
    want[1, len(levels) : 2 * len(levels)] = 3
    assert_same_bits(qtype.dequantize(blocks), want)


@pytest.mark.parametrize("name", LEVELS)
def test_grids_are_those_of_the_peer(name: str) -> None:
    """models/grids.py makes them."""
    theirs = peer._type_traits[gguf.GGMLQuantizationType["IQ1_S" if name == "IQ1" else name]]
    theirs.init_grid()
    np.testing.assert_array_equal(grid(name), theirs.grid.reshape(theirs.grid_shape))


@pytest.mark.parametrize("qtype", [t for t in WEIGHT_TYPES if t.quantize], ids=lambda t: t.name)
def test_quantize(qtype: QType) -> None:
    rng = np.random.default_rng(5)
    values = rng.standard_normal((4096, qtype.block_size), dtype=np.float32)
    values *= np.float32(10) ** rng.integers(-6, 3, (4096, 1)).astype(np.float32)
    values[0] = 0
    values[1] = -0.0
    values[2] = np.arange(qtype.block_size) % 5 - 2  # equal magnitudes: the first one decides
    values[3] = 0.5
    values[4, 1::2] = 0
    assert qtype.quantize is not None
    got = qtype.quantize(values)
    assert got.shape == (4096, qtype.block_bytes)
    want = peer.quantize(values, peer_type(qtype)).view(np.uint8)
    np.testing.assert_array_equal(got, want.reshape(got.shape))


@pytest.mark.parametrize("name", ["Q4_0", "Q8_0"])
def test_quantize_tiny_values(name: str) -> None:
    """A scale too small for its inverse gives zeros, not NaNs."""
    qtype = QTYPES[name]
    values = np.full((1, 32), 1e-41, np.float32)
    assert qtype.quantize is not None
    assert not qtype.dequantize(qtype.quantize(values)).any()


@pytest.mark.parametrize("name", SCALE_BYTES)
def test_bad_scales_stay_in_their_block(name: str) -> None:
    """Infinite and NaN scales give no warning and spoil no other block."""
    qtype = QTYPES[name]
    blocks = random_blocks(qtype, 4)
    for block, bad in ((0, np.inf), (2, np.nan)):
        for at in SCALE_BYTES[name]:
            blocks[block, at : at + 2] = np.array([bad], "<f2").view(np.uint8)
    out = QTensor("t", qtype, (4, qtype.block_size), blocks.reshape(-1)).dequantize()
    finite = np.isfinite(out)
    assert finite[1].all()
    assert finite[3].all()
    assert not finite[2].any()


def test_registry_agrees_with_the_peer() -> None:
    sizes = {int(t): (t.name, *s) for t, s in gguf.GGML_QUANT_SIZES.items()}
    sizes[42] = ("Q2_0", 64, 18)  # gguf-py does not know it yet
    for t in WEIGHT_TYPES + RAW_TYPES:
        assert (t.name, t.block_size, t.block_bytes) == sizes.pop(t.id)
        assert QTYPES[t.name] is QTYPE_BY_ID[t.id] is t
    assert {i: name for i, (name, *_) in sizes.items()} == ACTIVATIONS
    assert not QTYPE_BY_ID.keys() & (ACTIVATIONS.keys() | REMOVED.keys() | IK.keys())


def test_raw_types() -> None:
    values = np.array([[-3, 0], [7, 100]])
    for qtype in RAW_TYPES:
        dtype = f"<{qtype.name[0].lower()}{qtype.block_bytes}"
        raw = values.astype(dtype).reshape(-1).view(np.uint8)
        assert_same_bits(QTensor("t", qtype, (2, 2), raw).dequantize(), values.astype(np.float32))


@pytest.mark.parametrize(
    ("type_id", "text"),
    [(15, "Q8_K is not supported"), (4, "Q4_2 was removed"), (77, "type 77 is unknown")],
)
def test_why_not(type_id: int, text: str) -> None:
    assert text in why_not(type_id)
