"""The tiers of ARM, compiled on any machine: their instructions read from the object code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import llvmlite.binding as llvm
import numpy as np
import pytest
from numpy.typing import NDArray

from qrt.kernels import isa
from qrt.kernels.isa import TIERS
from qrt.kernels.objects import ObjectCache, compile_missing

TRIPLE = "aarch64-unknown-linux-gnu"

# (bits, mask) of the Arm Architecture Reference Manual, vectors of 128 bits
SDOT, USDOT = ((0x4F80E000, 0xFFC0F400),), ((0x4F80F000, 0xFFC0F400),)  # by element
FMLA = (0x4E20CC00, 0xFFE0FC00), (0x4F801000, 0xFFC0F400)
TBL = ((0x4E000000, 0xFFE0FC00),)
FROM_HALF = (0x0E217800, 0xFFFFFC00), (0x4E217800, 0xFFFFFC00)
TO_HALF = (0x0E216800, 0xFFFFFC00), (0x4E216800, 0xFFFFFC00)
PREFETCH = ((0xF9800000, 0xFFC00000),)
ISB = ((0xD5033FDF, 0xFFFFFFFF),)
ATOMIC_ADD = ((0xF8E00000, 0xFFE0FC00),)
SPILLS = (  # vectors to the stack and back, one and two at a time
    (0x3D8003E0, 0xFFC003E0), (0x3DC003E0, 0xFFC003E0),
    (0xAD0003E0, 0xFFC003E0), (0xAD4003E0, 0xFFC003E0),
)  # fmt: skip

WANTED = {
    "neon_dotprod": {
        "run": (ISB, ATOMIC_ADD),
        "norm": (FMLA,),
        "store_kv.f16.f16": (TO_HALF,),
        "attention.f16.f16.4": (FMLA, FROM_HALF, PREFETCH),
        "matmul.F16.1": (FMLA, FROM_HALF, PREFETCH),
        "matmul.Q4_K.1": (SDOT, FROM_HALF, FMLA, PREFETCH),
        "matmul.IQ4_XS.1": (SDOT, TBL),
        "matmul.IQ2_XXS.1": (SDOT, TBL),
        "matmul.Q8_0.1": (SDOT,),
        "matmul.Q8_0.4": (SDOT,),
    },
    "neon_i8mm": {"matmul.Q8_0.1": (USDOT, PREFETCH), "matmul.IQ4_XS.1": (USDOT, TBL)},
}


def code_of(code: bytes) -> NDArray[np.uint32]:
    """The instructions of an object file, which asks for nothing from elsewhere."""
    parts = {s.name(): s.data() for s in llvm.ObjectFileRef.from_data(code).sections()}
    symbols = np.frombuffer(parts[b".symtab"], np.uint8).reshape(-1, 24)
    section = symbols[1:, 6:8].copy().view("<u2")  # the first symbol is none
    assert section.all(), "an external symbol"
    return np.frombuffer(parts[b".text"], "<u4")


def matches(words: NDArray[np.uint32], patterns: tuple[tuple[int, int], ...]) -> NDArray[np.bool_]:
    """Which instructions fit one of the patterns."""
    return np.any([(words & mask) == bits for bits, mask in patterns], axis=0)


def innermost(words: NDArray[np.uint32], hot: NDArray[np.bool_]) -> Iterator[slice]:
    """Loops that hold a hot instruction and no smaller loop that does."""
    branches = np.flatnonzero((words & 0xFF000010) == 0x54000000)
    offsets = (words[branches] << 8).astype(np.int32) >> 13
    loops = [slice(i + o, i + 1) for i, o in zip(branches, offsets, strict=True) if o < 0]
    loops = [loop for loop in loops if hot[loop].any()]
    for loop in loops:
        if not any(loop.start <= o.start < o.stop < loop.stop for o in loops):
            yield loop


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], bytes]:
    """The object code of WANTED by tier and kernel."""
    found = {}
    for name, kernels in WANTED.items():
        cache = ObjectCache(tmp_path_factory.mktemp(name))
        tier = replace(TIERS[name], triple=TRIPLE)
        compile_missing(list(kernels), cache, tier, 2, lambda *_: None)
        for kernel in kernels:
            entry = cache.read(kernel)
            assert entry is not None
            found[name, kernel] = entry[1]
    return found


@pytest.mark.parametrize(("tier", "kernel"), [(t, k) for t, row in WANTED.items() for k in row])
def test_kernels_use_what_the_tier_offers(
    objects: dict[tuple[str, str], bytes], tier: str, kernel: str
) -> None:
    words = code_of(objects[tier, kernel])
    assert all(matches(words, patterns).any() for patterns in WANTED[tier][kernel])
    assert tier == "neon_i8mm" or not matches(words, USDOT).any()


@pytest.mark.parametrize(
    ("kernel", "per_dot", "spills_per_dot"),
    [("matmul.Q8_0.1", 4.0, 0.0), ("matmul.Q8_0.4", 3.2, 0.7), ("matmul.Q4_K.1", 8.0, 1.5)],
)
def test_inner_loops_are_short(
    objects: dict[tuple[str, str], bytes], kernel: str, per_dot: float, spills_per_dot: float
) -> None:
    words = code_of(objects["neon_dotprod", kernel])
    dots, spills = matches(words, SDOT), matches(words, SPILLS)
    loops = list(innermost(words, dots))
    assert loops
    for loop in loops:
        assert len(words[loop]) <= per_dot * dots[loop].sum()
        assert spills[loop].sum() <= spills_per_dot * dots[loop].sum()


@pytest.mark.parametrize(
    ("features", "best"),
    [
        ({"neon"}, "generic"),
        ({"neon", "lse", "dotprod"}, "neon_dotprod"),
        ({"neon", "lse", "dotprod", "i8mm"}, "neon_i8mm"),
    ],
)
def test_the_best_tier_of_an_arm_machine(
    monkeypatch: pytest.MonkeyPatch, features: set[str], best: str
) -> None:
    monkeypatch.setattr(isa, "machine", lambda: "aarch64")
    monkeypatch.setattr(isa, "host_features", lambda: frozenset(features))
    assert isa.choose(None).name == best


def test_features_that_llvm_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux tells them in the words AT_HWCAP and AT_HWCAP2."""

    class Libc:
        def __init__(self, name: None) -> None: ...

        def getauxval(self, entry: int) -> int:
            return {16: 1 << 20, 26: 1 << 13}[entry]

    monkeypatch.setattr(isa.ctypes, "CDLL", Libc)
    monkeypatch.setattr(isa.sys, "platform", "linux")
    monkeypatch.setattr(isa, "machine", lambda: "aarch64")
    assert isa.host_features() & {"lse", "dotprod", "i8mm"} == {"dotprod", "i8mm"}
