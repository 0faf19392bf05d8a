"""Write a GGUF file of a real model's shape and vocabulary with random weights."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from shapes import SHAPES, Shape

from qrt.formats.fields import metadata_strings
from qrt.formats.gguf import open_gguf
from qrt.formats.qtype import QType
from qrt.formats.quants import QTYPES
from qrt.formats.writer import TensorSource, write_gguf

WEIGHT_STD = 0.02
POOL_BYTES = 16 << 20
UNUSED_TOKEN = 5


@dataclass(frozen=True)
class RandomBlock:
    """How random bytes become a block of sane values.

    `scales` lists (byte offset of an f16 field, its multiple of the scale); the multiple of a
    minimum or an offset makes the mean zero. `fixed` are scales of other kinds that make the
    deviation about WEIGHT_STD: (byte offset, bytes). `file_type` is the value of
    `general.file_type`.
    """

    file_type: int
    scales: tuple[tuple[int, float], ...] = ()
    fixed: tuple[int, bytes] = (0, b"")


BLOCKS = {
    "Q4_0": RandomBlock(2, ((0, 1.0),)),
    "Q4_1": RandomBlock(3, ((0, 1.0), (2, -7.5))),
    "Q5_0": RandomBlock(8, ((0, 1.0),)),
    "Q5_1": RandomBlock(9, ((0, 1.0), (2, -15.5))),
    "Q8_0": RandomBlock(7, ((0, 1.0),)),
    "Q2_K": RandomBlock(10, ((80, 1.0), (82, 1.5))),
    "Q3_K": RandomBlock(12, ((108, 1.0),)),
    "Q4_K": RandomBlock(15, ((0, 1.0), (2, 7.5))),
    "Q5_K": RandomBlock(17, ((0, 1.0), (2, 15.5))),
    "Q6_K": RandomBlock(18, ((208, 1.0),)),
    "IQ4_NL": RandomBlock(25, ((0, 1.0),)),
    "IQ4_XS": RandomBlock(30, ((0, 1.0),)),
    "MXFP4": RandomBlock(38, fixed=(0, b"\x78")),
    "NVFP4": RandomBlock(39, fixed=(0, b"\x03\x04\x02\x03")),
    "IQ3_S": RandomBlock(26, ((0, 1.0),)),
    "IQ3_XXS": RandomBlock(23, ((0, 1.0),)),
    "IQ2_S": RandomBlock(28, ((0, 1.0),)),
    "IQ2_XS": RandomBlock(20, ((0, 1.0),)),
    "IQ2_XXS": RandomBlock(19, ((0, 1.0),)),
    "IQ1_M": RandomBlock(31, fixed=(48, bytes.fromhex("ff4fff0fff8fff1f"))),
    "IQ1_S": RandomBlock(24, ((0, 1.0),)),
    "TQ2_0": RandomBlock(37, ((64, 1.0),)),
    "TQ1_0": RandomBlock(36, ((52, 1.0),)),
    "Q2_0": RandomBlock(41, ((0, 1.0),)),
    "Q1_0": RandomBlock(40, ((0, 1.0),)),
}
OF_HEADS = ("attn_k_b.weight", "attn_v_b.weight")
"""Matrices of each head: BF16, because llama.cpp ends the process where it repacks them."""
FLOAT_FILE_TYPES = {"F32": 0, "F16": 1, "BF16": 32}


def random_pool(qtype: QType, rng: np.random.Generator) -> np.ndarray:
    """About POOL_BYTES of random weights as (n_blocks, block_bytes) uint8; n_blocks is prime.

    A prime number of blocks keeps the rows of a matrix distinct when the pool is repeated.
    """
    n_blocks = largest_prime(POOL_BYTES // qtype.block_bytes)
    if qtype.name in FLOAT_FILE_TYPES:
        values = rng.standard_normal((n_blocks, 1), dtype=np.float32) * np.float32(WEIGHT_STD)
        if qtype.name == "BF16":
            return (values.view(np.uint32) >> 16).astype("<u2").view(np.uint8)
        return values.astype("<f2" if qtype.name == "F16" else "<f4").view(np.uint8)
    pool = rng.integers(0, 256, size=(n_blocks, qtype.block_bytes), dtype=np.uint8)
    block = BLOCKS[qtype.name]
    at, scales = block.fixed
    pool[:, at : at + len(scales)] = np.frombuffer(scales, np.uint8)
    set_scales(pool, block, 1.0)
    unit_std = float(qtype.dequantize(pool[:4096]).std())
    set_scales(pool, block, WEIGHT_STD / unit_std)
    return pool


def set_scales(pool: np.ndarray, block: RandomBlock, scale: float) -> None:
    """Overwrite the f16 fields of all blocks."""
    for offset, multiple in block.scales:
        pool[:, offset : offset + 2] = np.array([multiple * scale], dtype="<f2").view(np.uint8)


def take(pool: np.ndarray, start: int, n_blocks: int) -> np.ndarray:
    """The blocks start .. start + n_blocks of the endlessly repeated pool, as flat bytes."""
    rolled = np.roll(pool, -start, axis=0)
    return np.resize(rolled, (n_blocks, pool.shape[1])).reshape(-1)


def largest_prime(limit: int) -> int:
    """The largest prime number not above `limit`."""
    return next(n for n in range(limit, 1, -1) if all(n % i for i in range(2, int(n**0.5) + 1)))


def matrices(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and (out, in) shapes of all matrices, (n, out, in) of those of n experts or heads."""
    yield "token_embd.weight", (shape.n_vocab, shape.dim)
    if not shape.tied:
        yield "output.weight", (shape.n_vocab, shape.dim)
    for layer in range(shape.n_layers):
        for name, dims in (*mixer(shape, layer), *feed_forward(shape, layer)):
            yield f"blk.{layer}.{name}.weight", dims


def mixer(shape: Shape, layer: int) -> list[tuple[str, tuple[int, ...]]]:
    """The matrices of a layer's attention, or what it has in its place."""
    if shape.hybrid is not None and layer not in shape.hybrid.attention:
        return [*shape.hybrid.matrices]
    dim, n_heads, latent = shape.dim, shape.n_heads, shape.latent
    if latent is not None:
        return [
            ("attn_q_a", (latent.q_rank, dim)),
            ("attn_q_b", (n_heads * (latent.nope + latent.rope), latent.q_rank)),
            ("attn_kv_a_mqa", (latent.rank + latent.rope, dim)),
            ("attn_k_b", (n_heads, latent.rank, latent.nope)),
            ("attn_v_b", (n_heads, latent.v_dim, latent.rank)),
            ("attn_output", (dim, n_heads * latent.v_dim)),
        ]
    q_dim, kv_dim = n_heads * shape.head_dim, shape.n_kv_heads * shape.head_dim
    gated = shape.hybrid is not None and shape.hybrid.gated
    parts = {"attn_q": 2 * q_dim if gated else q_dim, "attn_k": kv_dim, "attn_v": kv_dim}
    if shape.fused:
        parts = {"attn_qkv": q_dim + 2 * kv_dim}
    return [*((name, (n, dim)) for name, n in parts.items()), ("attn_output", (dim, q_dim))]


def feed_forward(shape: Shape, layer: int) -> list[tuple[str, tuple[int, ...]]]:
    """The matrices of a layer behind its attention."""

    def gated(suffix: str, several: tuple[int, ...], n: int) -> list[tuple[str, tuple[int, ...]]]:
        return [
            (f"ffn_gate{suffix}", (*several, n, shape.dim)),
            (f"ffn_up{suffix}", (*several, n, shape.dim)),
            (f"ffn_down{suffix}", (*several, shape.dim, n)),
        ]

    if shape.n_types:
        dims = (shape.ffn_dim, shape.dim)
        return [("ffn_up", dims), ("ffn_down", dims[::-1])]
    if shape.fused:
        up = ("ffn_up", (2 * shape.ffn_dim, shape.dim))
        return [up, ("ffn_down", (shape.dim, shape.ffn_dim))]
    if layer < shape.n_dense or not shape.n_experts:
        dim = shape.dense_dim or shape.ffn_dim
        return gated("", (), dim) if dim else []
    shared = gated("_shexp", (), shape.n_shared * shape.ffn_dim) if shape.n_shared else []
    return gated("_exps", (shape.n_experts,), shape.ffn_dim) + shared


def vectors(shape: Shape, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """Names and float32 values of all tensors that are not quantized."""
    if shape.n_types:
        for name, rows in (("position_embd", shape.n_ctx), ("token_types", shape.n_types)):
            table = rng.standard_normal((rows, shape.dim), dtype=np.float32)
            yield f"{name}.weight", table * np.float32(WEIGHT_STD)
        yield "token_embd_norm.weight", np.ones(shape.dim, np.float32)
        yield "token_embd_norm.bias", np.zeros(shape.dim, np.float32)
    else:
        yield f"{shape.output_norm}.weight", np.ones(shape.dim, np.float32)
    if shape.rope_factor:
        yield "rope_freqs.weight", llama3_rope_factors(shape)
    if shape.arch == "phi3":
        for name, low in (("short", 1.0), ("long", 4.0)):
            yield f"rope_factors_{name}.weight", np.linspace(1.0, low, 48, dtype=np.float32)
    for layer in range(shape.n_layers):
        at = f"blk.{layer}."
        norms = ("attn_norm", shape.ffn_norm) if shape.ffn_dim else ("attn_norm",)
        for name in () if shape.n_types else norms:
            yield f"{at}{name}.weight", np.ones(shape.dim, np.float32)
        if shape.hybrid is None or layer in shape.hybrid.attention:
            for name, length in shape.norms:
                yield f"{at}{name}.weight", np.ones(length, np.float32)
        else:
            for name, size, value in shape.hybrid.others:
                random = rng.standard_normal(size, dtype=np.float32)
                yield f"{at}{name}", random if value is None else np.full(size, value, np.float32)
        for name, length in shape.biases:
            size = (shape.n_experts, length) if name.endswith("_exps") else (length,)
            bias = rng.standard_normal(size, dtype=np.float32)
            yield f"{at}{name}.bias", bias * np.float32(WEIGHT_STD)
        if shape.arch == "gpt-oss":
            yield f"{at}attn_sinks.weight", rng.standard_normal(shape.n_heads, dtype=np.float32)
        if shape.n_experts and layer >= shape.n_dense:
            router = rng.standard_normal((shape.n_experts, shape.dim), dtype=np.float32)
            yield f"{at}ffn_gate_inp.weight", router * np.float32(WEIGHT_STD)


def llama3_rope_factors(shape: Shape) -> np.ndarray:
    """The frequency divisors of Llama 3.1 and later, float32 (head_dim / 2,)."""
    low, high, n_ctx_old = 1.0, 4.0, 8192
    wavelength = 2 * np.pi * shape.rope_theta ** (np.arange(0, shape.head_dim, 2) / shape.head_dim)
    smooth = np.clip((n_ctx_old / wavelength - low) / (high - low), 0.0, 1.0)
    return (1.0 / ((1.0 - smooth) / shape.rope_factor + smooth)).astype(np.float32)


def architecture_metadata(name: str, shape: Shape, qtype: str) -> dict[str, object]:
    """All GGUF metadata except the vocabulary."""
    file_type = FLOAT_FILE_TYPES[qtype] if qtype in FLOAT_FILE_TYPES else BLOCKS[qtype].file_type
    arch = shape.arch
    eps = "layer_norm_epsilon" if shape.n_types else "layer_norm_rms_epsilon"
    return {
        "general.architecture": arch,
        "general.name": f"random {name} {qtype}",
        "general.file_type": file_type,
        "general.quantization_version": 2,
        f"{arch}.block_count": shape.n_layers,
        f"{arch}.context_length": shape.n_ctx,
        f"{arch}.embedding_length": shape.dim,
        f"{arch}.feed_forward_length": shape.dense_dim or shape.ffn_dim,
        f"{arch}.attention.head_count": shape.n_heads,
        f"{arch}.attention.head_count_kv": shape.n_kv_heads,
        f"{arch}.attention.{eps}": shape.norm_eps,
        f"{arch}.rope.dimension_count": shape.latent.rope if shape.latent else shape.head_dim,
        f"{arch}.rope.freq_base": shape.rope_theta,
        f"{arch}.vocab_size": shape.n_vocab,
        f"{arch}.attention.key_length": shape.head_dim,
        f"{arch}.attention.value_length": shape.latent.rank if shape.latent else shape.head_dim,
        **{f"{arch}.{key}": value for key, value in (*optional_keys(shape), *shape.keys)},
    }


def optional_keys(shape: Shape) -> Iterator[tuple[str, object]]:
    """Metadata of mixtures and of latent attention."""
    if shape.n_experts:
        yield "expert_count", shape.n_experts
        yield "expert_used_count", shape.n_used
        yield "expert_feed_forward_length", shape.ffn_dim
    if shape.n_shared:
        yield "expert_shared_count", shape.n_shared
        yield "leading_dense_block_count", shape.n_dense
    if shape.latent is not None:
        yield "attention.q_lora_rank", shape.latent.q_rank
        yield "attention.kv_lora_rank", shape.latent.rank
        yield "attention.key_length_mla", shape.latent.nope + shape.latent.rope
        yield "attention.value_length_mla", shape.latent.v_dim


def vocabulary(path: Path, n_vocab: int) -> dict[str, object]:
    """The tokenizer's metadata of a GGUF file, its lists padded to `n_vocab` unused tokens."""
    with open_gguf(path) as file:
        meta = {key: file.metadata[key] for key in file.metadata if key.startswith("tokenizer.")}
        tokens = metadata_strings(file.metadata, "tokenizer.ggml.tokens")
    n_missing = n_vocab - len(tokens)
    if n_missing < 0:
        raise SystemExit(f"{path}: {len(tokens)} tokens, the shape has room for {n_vocab}")
    if n_missing:
        padding = [f"[PAD{n_vocab - n_missing + i}]" for i in range(n_missing)]
        meta["tokenizer.ggml.tokens"] = tokens.to_list() + padding
        for key, value in {"token_type": UNUSED_TOKEN, "scores": 0.0}.items():
            values = meta.get(f"tokenizer.ggml.{key}")
            if isinstance(values, np.ndarray):
                tail = np.full(n_missing, value, values.dtype)
                meta[f"tokenizer.ggml.{key}"] = np.concatenate((values, tail))
    return meta


def cut(shape: Shape, n_layers: int) -> Shape:
    """The first layers of a shape, with what is told of each layer."""
    keys = tuple(
        (
            key,
            value[:n_layers] if isinstance(value, list) and len(value) == shape.n_layers else value,
        )
        for key, value in shape.keys
    )
    return replace(shape, n_layers=n_layers, keys=keys)


def write_model(
    name: str, qtype_name: str, out: Path, vocab: Path, seed: int, n_layers: int | None
) -> None:
    """Write the whole file, or one of fewer layers; raises SystemExit where rows are not whole
    blocks.
    """
    shape, main = SHAPES[name], QTYPES[qtype_name]
    if n_layers is not None:
        shape = cut(shape, n_layers)
    rng = np.random.default_rng(seed)
    pools = {main: random_pool(main, rng), QTYPES["BF16"]: random_pool(QTYPES["BF16"], rng)}
    tensors: list[TensorSource] = []
    start = 0
    for tensor, dims in matrices(shape):
        qtype = QTYPES["BF16"] if tensor.endswith(OF_HEADS) else main
        pool = pools[qtype]
        if dims[-1] % qtype.block_size:
            blocks = f"{qtype.name} blocks of {qtype.block_size}"
            raise SystemExit(f"{name}: rows of {dims[-1]} are not whole {blocks}: {tensor}")
        n_blocks = math.prod(dims) // qtype.block_size
        tensors.append((tensor, qtype, dims, partial(take, pool, start, n_blocks)))
        start = (start + n_blocks) % len(pool)
    for tensor, values in vectors(shape, rng):
        tensors.append((tensor, QTYPES["F32"], values.shape, values))
    metadata = architecture_metadata(name, shape, qtype_name) | vocabulary(vocab, shape.n_vocab)
    if shape.n_types:
        metadata["tokenizer.ggml.token_type_count"] = shape.n_types
    write_gguf(out, metadata, tensors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("qtype", choices=[*FLOAT_FILE_TYPES, *BLOCKS])
    parser.add_argument("out", type=Path)
    parser.add_argument("--vocab", type=Path, required=True, help="GGUF file with the vocabulary")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", type=int, help="cut to so many layers")
    args = parser.parse_args()
    write_model(args.shape, args.qtype, args.out, args.vocab, args.seed, args.layers)


if __name__ == "__main__":
    main()
