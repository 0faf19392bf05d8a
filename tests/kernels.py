"""Kernels called by hand: buffers between canaries, filled with NaN, run by 1, 2 and 3 threads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, get_args, get_type_hints

import numpy as np
from filelock import FileLock
from numpy.typing import ArrayLike, NDArray

from qrt.backends.cpu.rows import ROW_KERNELS
from qrt.backends.cpu.tiling import Tiling, few, many
from qrt.config import cache_dir, private_dir
from qrt.formats.cache_types import CACHE_BYTES
from qrt.graph.ops.elementwise import Function
from qrt.graph.ops.glu import Glu
from qrt.kernels import layout
from qrt.kernels.isa import TIERS, choose, host_features, missing
from qrt.kernels.objects import Library, load_kernels
from qrt.kernels.panels import PANEL_FORMATS
from qrt.kernels.team import TEAM_KERNELS, Team

CANARY = 64
THREADS = (1, 2, 3)
RUNNABLE = [name for name, tier in TIERS.items() if not missing(tier, host_features())]
BEST = RUNNABLE[-1]
USUAL = (*map(few, TIERS[BEST].rows), many(TIERS[BEST]))
MANIES = [many(replace(TIERS[BEST], prefill=sums)) for sums in ((1, 2), (4, 2), (16, 2), (4, 1))]
TILINGS = (*USUAL[:-1], *MANIES)
ONE, MANY, TILES = TILINGS[0], USUAL[-1], MANIES[2]
"""One row, many rows, and those on tile registers, which other tiers have in memory."""
EVERY_TILING = ("F32", "F16", "Q4_0", "Q4_1", "Q8_0", "Q2_K", "Q4_K", "Q6_K", "IQ2_XS", "NVFP4")
"""A format of each way that codes, scales and mins are told; the others run with the usual."""


def tilings_of(qtype: str) -> tuple[Tiling, ...]:
    """The tilings that matmuls of a format are tested with."""
    return TILINGS if qtype in EVERY_TILING else USUAL


EVERY_ROW, LOGIT_ROWS = layout.ROWS_OF["all"], layout.ROWS_OF["logits"]

KV_PAIRS = [(kv, kv) for kv in CACHE_BYTES]
KV_PAIRS += [("q8_0", "q4_0"), ("q4_0", "f16"), ("f32", "q8_0")]

PEAKS = ("peak.int8", "peak.f32")
DOTS = (
    *TEAM_KERNELS,
    *PEAKS,
    "pack",
    "fetch",
    "norm",
    "hand_over",
    "matmul_prefill.Q4_0.4.1",
    "matmul.Q8_0.1",
)
LOOKED_UP = ("IQ4_NL", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_S", "TQ1_0", "IQ1_M")
"""Formats whose codes or points tiers look up or gather, each in a way of its own."""
EXPANDED = tuple(name for name, fmt in PANEL_FORMATS.items() if fmt.expanded)
LOOKUPS = tuple(f"matmul.{qtype}.1" for qtype in LOOKED_UP)
LOOKUPS += tuple(f"expand.{qtype}" for qtype in LOOKED_UP if qtype in EXPANDED)
GLU_ACTS = get_args(get_type_hints(Glu)["act"])
FUNCTIONS = get_args(Function)
SOME = (  # every row of the instruction table
    *(*DOTS, "embed.F16", "store_kv.f16.f16", "attention.f16.f16.1", "attend_rows"),
    *(f"glu.{act}" for act in GLU_ACTS),
    *(*LOOKUPS, "matmul.F16.1", "delta", "add"),
    *(TILES.matmul.format("Q4_0"), TILINGS[-1].matmul.format("F16")),
    *ROW_KERNELS,
)
EXPERT_TYPES = ("F32", "Q8_0", "Q4_K", "MXFP4")
EXPERT_TILES = (1, 2, 4)
EXPERT_MANIES = MANIES[1:3]
HEAD_TYPES = ("F16", "Q8_0", "Q4_K")
HEAD_TILINGS = (few(1), few(2), *MANIES[1:3])
ALL = (
    *(*SOME, "rope", "select", "receive", "read", "clock"),
    *("slice", "join", "gate", "temper", "xielu"),
    *("add_types", "mix", "rescale", "gaussian_topk", "layer_scale"),
    *(f"elementwise.{function}" for function in FUNCTIONS),
    *(f"add_positions.{name}" for name in ("F32", "F16", "Q8_0", "Q6_K")),
    *(f"embed.{name}" for name in PANEL_FORMATS if name != "F16"),
    *(tiling.matmul.format(name) for name in PANEL_FORMATS for tiling in tilings_of(name)),
    *(f"expand.{name}" for name in EXPANDED),
    *("route", "gather", "scatter", "page_in"),
    *("lora_down", "lora_up", "expert_lora_down", "expert_lora_up"),
    *("conv.plain", "conv.silu", "ssd", "selective_scan"),
    *(f"expert_matmul.{name}.{rows}" for name in EXPERT_TYPES for rows in EXPERT_TILES),
    *(f"expert_{tiling.matmul.format(name)}" for name in EXPERT_TYPES for tiling in EXPERT_MANIES),
    *(f"head_{tiling.matmul.format(name)}" for name in HEAD_TYPES for tiling in HEAD_TILINGS),
    *(f"store_kv.{k}.{v}" for k, v in KV_PAIRS),
    *(f"store_kv.{kv}.k" for kv in CACHE_BYTES),
    *(f"attention.{kv}.k.{heads}" for kv in CACHE_BYTES for heads in (1, 2, 4)),
    *(f"attention.{k}.{v}.{heads}" for k, v in KV_PAIRS for heads in (1, 2, 4)),
    *(f"attention.{kv}.{kv}.{n}.alibi" for kv in ("f16", "f32", "q8_0") for n in (1, 2, 4)),
    *(f"attention.{kv}.{kv}.1.learned" for kv in ("f16", "f32", "q8_0")),
)
TIER_KERNELS = dict.fromkeys(("generic", "avx2", "avx512vnni", "neon_dotprod"), SOME)
TIER_KERNELS |= {"avxvnni": DOTS, "avx512vbmi": (*DOTS, *LOOKUPS), BEST: ALL}


def load(tier: str, names: Iterable[str]) -> Library:
    """Kernels from the user's cache, compiled where they are missing: of a tier by one process of
    the tests, for which others wait.
    """
    names = list(dict.fromkeys(names))
    private_dir(cache_dir())
    with FileLock(cache_dir() / f"tests-{tier}.lock"):
        return load_kernels(names, choose(tier), cache_dir(), lambda: 2, lambda *_: None)


def nmse(got: ArrayLike, want: ArrayLike) -> float:
    """mean((got - want)**2) / mean(want**2); two empty or all-zero arrays do not differ."""
    a, b = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert a.shape == b.shape
    if not b.any():
        return 0.0 if not a.any() else np.inf
    return float(((a - b) ** 2).sum() / (b**2).sum())


def float_bits(value: float) -> int:
    return int(np.float32(value).view(np.int32))


class Buffer:
    """An array with canaries before and behind it."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        raw = np.empty(n_bytes + 2 * CANARY + 64, np.uint8)
        start = -raw.ctypes.data % 64
        self._whole = raw[start : start + n_bytes + 2 * CANARY]
        self._inner = self._whole[CANARY : CANARY + n_bytes]
        self.array = self._inner.view(dtype).reshape(shape)
        self.address = self._whole.ctypes.data + CANARY
        self.reset()

    def reset(self) -> None:
        """Canaries in place, all bits of the array set: NaN, or -1."""
        self._whole[:] = 0xA5
        self._inner[:] = 0xFF

    def check(self) -> None:
        assert (self._whole[:CANARY] == 0xA5).all(), "bytes before the buffer were written"
        assert (self._whole[-CANARY:] == 0xA5).all(), "bytes behind the buffer were written"


class Lab:
    """The kernels of one tier."""

    def __init__(self, tier: str, names: Iterable[str] | None = None) -> None:
        self.tier = tier
        self.names = TIER_KERNELS[tier] if names is None else (*TEAM_KERNELS, *names)
        self.library = load(tier, self.names)
        self.teams = {n: Team(n, self.library) for n in THREADS}
        self._inputs: list[Buffer] = []
        self.fault = 0  # of the last step

    def close(self) -> None:
        for team in self.teams.values():
            team.close()

    def put(self, array: ArrayLike) -> int:
        """The address of a copy of an input, kept until the next run is over."""
        source = np.ascontiguousarray(array)
        buffer = Buffer(source.shape, source.dtype)
        buffer.array[...] = source
        self._inputs.append(buffer)
        return buffer.address

    def record(self, fields: Any, /, **values: int) -> NDArray[np.int64]:
        return np.array(list(layout.fill(fields, values)), np.int64)

    def run(
        self,
        calls: list[tuple[str, NDArray[np.int64]]],
        outs: list[Buffer],
        **step: int,
    ) -> list[NDArray[Any]]:
        """What the calls leave in `outs`, which is the same for every number of threads."""
        tape = [[self.library.address(name), args.ctypes.data, 1] for name, args in calls]
        results: list[list[NDArray[Any]]] = []
        for n_threads, team in self.teams.items():
            scratch = Buffer((n_threads * layout.SCRATCH,), np.uint8)
            words = np.zeros(layout.STEP.size // 8, np.int64)
            for field, value in {"scratch": scratch.address, **step}.items():
                words[getattr(layout.STEP, field) // 8] = value
            for out in outs:
                out.reset()
            team.run(np.array(tape, np.int64), words.ctypes.data)
            self.fault = int(words[layout.STEP.fault // 8])
            for buffer in (*outs, scratch, *self._inputs):
                buffer.check()
            results.append([out.array.copy() for out in outs])
        for other in results[1:]:
            for first, again in zip(results[0], other, strict=True):
                assert first.tobytes() == again.tobytes(), "the number of threads shows"
        self._inputs.clear()
        return results[0]

    def pack(self, blocks: NDArray[np.uint8], qtype: str) -> NDArray[np.uint8]:
        """Panels of a matrix given as blocks (n_rows, n_blocks, block_bytes)."""
        panels, fmt = self.pack_fields(blocks, qtype), PANEL_FORMATS[qtype]
        if not fmt.expanded:
            return panels
        n_panels, n_blocks = -(-len(blocks) // 16), blocks.shape[1]
        out = Buffer((n_panels * n_blocks * fmt.panel_bytes,), np.uint8)
        places = {"source": self.put(panels), "target": out.address}
        args = self.record(layout.EXPAND, **places, n_panels=n_panels, n_blocks=n_blocks)
        return self.run([(f"expand.{qtype}", args)], [out])[0]

    def pack_fields(self, blocks: NDArray[np.uint8], qtype: str) -> NDArray[np.uint8]:
        """Panels with the fields of the blocks."""
        fmt = PANEL_FORMATS[qtype]
        n_rows, n_blocks, block_bytes = blocks.shape
        n_in = n_blocks * fmt.block_size
        if not fmt.quantized:  # a row of plain numbers is one block
            n_blocks, block_bytes = 1, n_blocks * block_bytes
        out = Buffer((-(-n_rows // 16) * 16 * n_blocks * block_bytes,), np.uint8)
        args = self.record(
            layout.PACK,
            source=self.put(blocks),
            target=out.address,
            n_rows=n_rows,
            row_bytes=n_blocks * block_bytes,
            n_blocks=n_blocks,
            block_bytes=block_bytes,
            fields=self.put(np.array(fmt.table(n_in), np.int64)),
            n_fields=len(fmt.fields),
        )
        return self.run([("pack", args)], [out])[0]

    def hand_over(
        self, x: NDArray[np.float32], tile: int, *, quantized: bool
    ) -> NDArray[np.uint8] | NDArray[np.float32]:
        """Rows as a matmul wants them: lines (n_tiles, n_blocks, tile, 64) of bytes, or
        (n_tiles, n_in, tile) of float32.
        """
        n_rows, n_in = x.shape
        n_tiles = -(-n_rows // tile)
        if quantized:
            out = Buffer((n_tiles, n_in // 32, tile, layout.LINE), np.uint8)
        else:
            out = Buffer((n_tiles, n_in, tile), np.float32)
        places = {"lines": 0, "floats": 0, "lines" if quantized else "floats": out.address}
        values = {"x": self.put(x), "n_in": n_in, "tile_rows": tile, "rows_of": EVERY_ROW}
        args = self.record(layout.HAND_OVER, **values, **places)
        return self.run([("hand_over", args)], [out], n_rows=n_rows)[0]

    def matmul(
        self,
        qtype: str,
        tiling: Tiling,
        panels: NDArray[np.uint8],
        n_out: int,
        x: NDArray[np.float32],
        bias: NDArray[np.float32] | None = None,
        residual: NDArray[np.float32] | None = None,
        scale: float = 1.0,
    ) -> NDArray[np.float32]:
        """(x @ w.T) * scale + bias + residual"""
        n_rows, n_in = x.shape
        out = Buffer((n_rows, n_out), np.float32)
        handed = self.hand_over(x, tiling.rows, quantized=PANEL_FORMATS[qtype].quantized)
        values = self.operands(panels, handed, n_in, out, bias, residual, scale)
        args = self.record(layout.MATMUL, **values)
        return self.run([(tiling.matmul.format(qtype), args)], [out], n_rows=n_rows)[0]

    def operands(
        self,
        panels: NDArray[np.uint8],
        handed: NDArray[Any],
        n_in: int,
        out: Buffer,
        bias: NDArray[np.float32] | None,
        residual: NDArray[np.float32] | None,
        scale: float = 1.0,
    ) -> dict[str, int]:
        """What the records of all matmuls have in common."""
        n_out = out.array.shape[1]
        padding = np.zeros(16, np.float32)  # biases are read 16 at a time, residuals too
        return {
            "weights": self.put(panels),
            "x": self.put(handed),
            "out": out.address,
            "stride": n_out,
            "bias": 0 if bias is None else self.put(np.concatenate([bias, padding])),
            "residual": 0 if residual is None else self.put(np.append(residual, padding)),
            "n_in": n_in,
            "n_out": n_out,
            "rows_of": EVERY_ROW,
            "scale": float_bits(scale),
        }


def quantize_lines(x: NDArray[np.float32], *, fused: bool) -> dict[str, NDArray[Any]]:
    """A model of the hand-over: quants (n_rows, n_blocks, 32), the others (n_rows, n_blocks).

    `fused`: the product with the inverse of the scale is not rounded before it is made whole.
    """
    blocks = x.reshape(len(x), x.shape[1] // 32, 32)
    largest = np.abs(blocks).max(axis=2, initial=0).astype(np.float64)
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.where(largest > 1e-36, 127.0 / largest, 0.0).astype(np.float32)
    product = blocks.astype(np.float64) * inverse[..., None]
    quants = np.rint(product if fused else product.astype(np.float32)).astype(np.int8)
    sums = quants.astype(np.int64)
    low, high = sums[..., :16].sum(axis=2), sums[..., 16:].sum(axis=2)
    wide = largest / 127.0
    return {
        "quants": quants,
        "scale": wide.astype(np.float32),
        "nsum": (-(low + high)).astype(np.int32),
        "nsum_low": (-low).astype(np.int32),
        "nsum_high": (-high).astype(np.int32),
        "fsum": (wide * (low + high)).astype(np.float32),
        "fsum_low": (wide * low).astype(np.float32),
        "fsum_high": (wide * high).astype(np.float32),
    }
