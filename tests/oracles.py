"""The data folder of the tests: oracles unpacked, and models whose weights are random blocks.

Weights come from raw bits of a seeded generator, so only the logits that llama.cpp computed from
them are stored (`make_oracles.py`). What is made is kept in pytest's cache directory.
"""

from __future__ import annotations

import hashlib
import lzma
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qrt.formats.fields import Metadata
from qrt.formats.gguf import open_gguf
from qrt.formats.qtype import QType
from qrt.formats.quants import QTYPES
from qrt.formats.quants.nvfp4 import ue4m3
from qrt.formats.writer import write_gguf

TESTS = Path(__file__).parent
HALVES = {  # of a block: where the scale stands, and the scale of the mins over it
    "Q4_0": {0: 1.0},
    "Q4_1": {0: 1.0, 2: -7.5},
    "Q5_0": {0: 1.0},
    "Q5_1": {0: 1.0, 2: -15.5},
    "Q8_0": {0: 1.0},
    "Q2_K": {80: 1.0, 82: 1.5},
    "Q3_K": {108: 1.0},
    "Q4_K": {0: 1.0, 2: 7.5},
    "Q5_K": {0: 1.0, 2: 15.5},
    "Q6_K": {208: 1.0},
    "IQ4_NL": {0: 1.0},
    "IQ4_XS": {0: 1.0},
    "MXFP4": {},
    "NVFP4": {},
    "TQ2_0": {64: 1.0},
    "TQ1_0": {52: 1.0},
    "Q2_0": {0: 1.0},
    "Q1_0": {0: 1.0},
    "IQ3_S": {0: 1.0},
    "IQ3_XXS": {0: 1.0},
    "IQ2_S": {0: 1.0},
    "IQ2_XS": {0: 1.0},
    "IQ2_XXS": {0: 1.0},
    "IQ1_S": {0: 1.0},
    "IQ1_M": {},
}
MODEL_TYPES = ("F32", "F16", "BF16", *HALVES)
DIM, FFN_DIM, N_HEADS, N_KV_HEADS, HEAD_DIM, N_VOCAB = 256, 512, 8, 2, 32, 128
TOKENS = (np.arange(48) * 37 + 11) % N_VOCAB


def uniform(rng: np.random.PCG64, n: int) -> NDArray[np.float32]:
    """n values of mean 0 and deviation 1."""
    unit = (rng.random_raw(n) >> np.uint64(40)) / 2.0**24 - 0.5
    return (unit * 12**0.5).astype(np.float32)


def random_weights(qtype: QType, n: int, deviation: float, seed: int) -> NDArray[np.uint8]:
    """Blocks of n values whose mean is about 0 and whose deviation is about `deviation`."""
    rng = np.random.PCG64(seed)
    n_blocks = n // qtype.block_size
    if qtype.name not in HALVES:
        values = uniform(rng, n) * np.float32(deviation)
        return to_float_bytes(qtype.name, values).reshape(n_blocks, qtype.block_bytes)
    n_words = -(-n_blocks * qtype.block_bytes // 8)
    raw = rng.random_raw(n_words).view(np.uint8)[: n_blocks * qtype.block_bytes]
    blocks = raw.reshape(n_blocks, qtype.block_bytes).copy()
    jitter = 1 + 0.2 * uniform(rng, n_blocks)  # between 0.65 and 1.35
    jitter *= np.where(rng.random_raw(n_blocks) & np.uint64(1), 1, -1)

    def set_scales(scale: float) -> None:
        for at, ratio in HALVES[qtype.name].items():
            halves = (scale * ratio * jitter).astype("<f2")
            blocks[:, at : at + 2] = halves[:, None].view(np.uint8)
        if qtype.name in OTHER_SCALES:
            OTHER_SCALES[qtype.name](blocks, scale * jitter)

    set_scales(1.0)
    set_scales(deviation / float(qtype.dequantize(blocks[:4096]).std()))
    return blocks


def set_e8m0(blocks: NDArray[np.uint8], scales: NDArray[np.float64]) -> None:
    """The nearest powers of two."""
    blocks[:, 0] = np.rint(np.log2(np.abs(scales))).astype(np.int64) + 128


def set_ue4m3(blocks: NDArray[np.uint8], scales: NDArray[np.float64]) -> None:
    """The nearest numbers not above 1, 1/2, 1/4 and 1/8 of them."""
    numbers = ue4m3(np.arange(127, dtype=np.uint8))
    wanted = np.abs(scales)[:, None] / [1, 2, 4, 8]
    blocks[:, :4] = np.searchsorted(numbers, wanted, side="right") - 1


def set_quartered(blocks: NDArray[np.uint8], scales: NDArray[np.float64]) -> None:
    """float16, four bits each at the top of four u16."""
    bits = scales.astype("<f2").view("<u2")[:, None] >> np.arange(0, 16, 4, dtype="<u2") << 12
    words = blocks[:, 48:].view("<u2")
    words[:] = words & 0x0FFF | bits


OTHER_SCALES = {"MXFP4": set_e8m0, "NVFP4": set_ue4m3, "IQ1_M": set_quartered}


def to_float_bytes(name: str, values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Values as the bytes of F32, F16 or BF16."""
    if name == "BF16":
        return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    return values.astype({"F32": "<f4", "F16": "<f2"}[name]).view(np.uint8)


def shapes() -> dict[str, tuple[int, ...]]:
    """Every tensor of the models: matrices first, then vectors."""
    found: dict[str, tuple[int, ...]] = {"token_embd": (N_VOCAB, DIM), "output": (N_VOCAB, DIM)}
    for i in range(2):
        found |= {
            f"blk.{i}.attn_q": (N_HEADS * HEAD_DIM, DIM),
            f"blk.{i}.attn_k": (N_KV_HEADS * HEAD_DIM, DIM),
            f"blk.{i}.attn_v": (N_KV_HEADS * HEAD_DIM, DIM),
            f"blk.{i}.attn_output": (DIM, N_HEADS * HEAD_DIM),
            f"blk.{i}.ffn_gate": (FFN_DIM, DIM),
            f"blk.{i}.ffn_up": (FFN_DIM, DIM),
            f"blk.{i}.ffn_down": (DIM, FFN_DIM),
            f"blk.{i}.attn_norm": (DIM,),
            f"blk.{i}.ffn_norm": (DIM,),
        }
    return found | {"output_norm": (DIM,)}


def write_model(path: Path, name: str, metadata: Metadata) -> None:
    """A llama of two layers with every matrix in the block format `name`."""
    sizes = {
        "embedding_length": DIM,
        "feed_forward_length": FFN_DIM,
        "attention.head_count": N_HEADS,
        "attention.head_count_kv": N_KV_HEADS,
        "attention.key_length": HEAD_DIM,
        "attention.value_length": HEAD_DIM,
        "rope.dimension_count": HEAD_DIM,
    }
    changed = {**metadata, **{f"llama.{key}": value for key, value in sizes.items()}}
    tensors = []
    for seed, (tensor, shape) in enumerate(shapes().items()):
        qtype = QTYPES[name if len(shape) > 1 else "F32"]
        deviation = {"token_embd": 1.0, "output": 0.1}.get(tensor, 0.075)
        weights = random_weights(qtype, int(np.prod(shape)), deviation, seed)
        if len(shape) == 1:
            weights = (1 + weights.view(np.float32)).view(np.uint8)
        tensors.append((f"{tensor}.weight", qtype, shape, weights.tobytes()))
    write_gguf(path, changed, tensors)


@cache
def data_folder() -> Path:
    """The folder of oracles: arch and quant with their models, vocab as it is packed."""
    source = TESTS / "data"
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(source)}".encode() + path.read_bytes())
    target = TESTS.parent / ".pytest_cache" / f"data-{digest.hexdigest()[:16]}"
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=target.parent)) / "data"
        shutil.copytree(source, unfinished)
        for packed in (unfinished / "arch").glob("*.xz"):
            packed.with_suffix("").write_bytes(lzma.decompress(packed.read_bytes()))
        with open_gguf(unfinished / "arch" / "llama-dense.gguf") as file:
            for name in MODEL_TYPES:
                write_model(unfinished / "quant" / f"llama-{name}.gguf", name, file.metadata)
        for outdated in target.parent.glob("data-*"):
            shutil.rmtree(outdated, ignore_errors=True)
        with suppress(OSError):  # another run may have been faster
            unfinished.rename(target)
        shutil.rmtree(unfinished.parent)
    return target
