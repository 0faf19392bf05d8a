"""Compiles the kernels of common models for common tiers, into archives that a wheel brings.

    python release/objects.py FOLDER [TIER...]

FOLDER gets an archive for each tier, and under `kept` what was compiled, which a run that was cut
short goes on from. Tiers of ARM are compiled on any machine.
"""

from __future__ import annotations

import lzma
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np

from qrt.backends.cpu.guard import guard_kernels
from qrt.backends.cpu.rows import ROW_KERNELS
from qrt.backends.cpu.tiling import many
from qrt.config import default_threads
from qrt.kernels.entries import packed
from qrt.kernels.isa import TIERS, Tier
from qrt.kernels.layout import ROW_TILE
from qrt.kernels.objects import ObjectCache, compile_missing
from qrt.kernels.shipped import archive_name
from qrt.kernels.team import TEAM_KERNELS

SYSTEM = "linux"
TRIPLES = {"x86_64": "", "aarch64": "aarch64-unknown-linux-gnu"}
SHIPPED = (
    *("avx2", "avxvnni", "avx512vnni", "avx512vbmi", "zen4", "amx"),
    *("neon_dotprod", "neon_i8mm"),
)

FORMATS = (
    *("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"),
    *("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"),
)
EXPERT_FORMATS = ("Q4_0", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "MXFP4")
OTHERS = (
    *TEAM_KERNELS,
    *guard_kernels(),
    *ROW_KERNELS,
    *("fetch", "pack", "read", "clock"),
    *("norm", "hand_over", "rope", "add", "select", "slice", "attend_rows", "add_types"),
    *("elementwise.gelu_erf", "add_positions.F32"),
    *("lora_down", "lora_up"),
    *("glu.silu", "glu.gelu", "glu.oai", "elementwise.scale", "elementwise.softcap"),
    *("route", "gather", "scatter", "gate"),
    *("delta", "ssd", "conv.silu", "conv.plain", "glu.linear"),
    *(f"store_kv.{kv}.{kv}" for kv in ("f16", "q8_0")),
    *(f"attention.{kv}.{kv}.{heads}" for kv in ("f16", "q8_0") for heads in (1, 2, 4)),
    "attention.f16.f16.1.learned",
)


def kernels_of(tier: Tier) -> list[str]:
    """The kernels that an archive of `tier` has."""
    both = {tier, replace(tier, own_routed=min(tier.prefill, (ROW_TILE, 2)))}  # few experts or many
    tiled = [
        *(f"matmul.{{}}.{rows}" for rows in tier.rows),
        *("embed.{}", many(tier).matmul),
    ]
    experts = [
        *(f"expert_matmul.{{}}.{rows}" for rows in tier.rows if rows <= ROW_TILE),
        *(f"expert_{many(each).routed_matmul}" for each in both),
    ]
    names = [name.format(qtype) for qtype in FORMATS for name in tiled]
    names += [name.format(qtype) for qtype in EXPERT_FORMATS for name in experts]
    return sorted({*OTHERS, *names})


def unknown_symbols(code: bytes) -> bool:
    """Whether an ELF object of 64 bits asks for something from elsewhere."""
    parts = {s.name(): s.data() for s in llvm.ObjectFileRef.from_data(code).sections()}
    symbols = np.frombuffer(parts[b".symtab"], np.uint8).reshape(-1, 24)
    return not symbols[1:, 6:8].copy().view("<u2").all()  # the first symbol is none


def members(cache: ObjectCache, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """(name, entry) of kernels that were compiled."""
    for name in names:
        found = cache.read(name)
        if found is None or unknown_symbols(found[1]):
            sys.exit(f"{cache.directory}: {name} cannot be shipped")
        yield name, packed(*found)


def archive(cache: ObjectCache, names: list[str]) -> bytes:
    """The archive of kernels that were compiled."""
    whole = BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        for name, entry in members(cache, names):
            info = tarfile.TarInfo(name)
            info.size = len(entry)
            tar.addfile(info, BytesIO(entry))
    return lzma.compress(whole.getvalue(), check=lzma.CHECK_SHA256, preset=9)


def main() -> None:
    folder, *wanted = sys.argv[1:]
    for path in Path(folder).glob("*.tar.xz"):
        path.unlink()
    for tier in (TIERS[name] for name in wanted or SHIPPED):
        names, path = kernels_of(tier), Path(folder) / archive_name(tier, SYSTEM)
        cache = ObjectCache(Path(folder).absolute() / "kept" / path.name.partition(".")[0])
        cross = replace(tier, triple=TRIPLES[tier.machine])
        missing = [name for name in names if cache.read(name) is None]
        compile_missing(missing, cache, cross, default_threads(), lambda *_: None)
        path.write_bytes(archive(cache, names))
        print(f"{path}: {len(names)} kernels, {path.stat().st_size / 1e3:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
