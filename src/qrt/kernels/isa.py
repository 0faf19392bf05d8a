"""Instruction tiers, and which of them this CPU can run. Imports neither numba nor LLVM's IR."""

from __future__ import annotations

import ctypes
import platform
import sys
from dataclasses import dataclass, replace
from functools import cache

from qrt.errors import BackendError
from qrt.kernels.layout import ROW_TILE, TILE_ROWS


@dataclass(frozen=True, slots=True)
class Tier:
    """A set of instructions that kernels are compiled for.

    `needs` are LLVM feature names that the CPU must report; `llvm_cpu` and `llvm_features` are what
    the compiler is told, so that a tier gives the same code on every machine. Its registers hold
    the sums of `rows` of activations in a matmul of few rows, and in one of many those of the rows
    and weight panels in `prefill`, or `own_routed` for those of experts; TILE_ROWS stands for tile
    registers. `triple` is that of another machine to compile for, empty for this one.
    """

    name: str
    machine: str  # "x86_64", "aarch64" or "any"
    needs: frozenset[str]
    llvm_cpu: str
    llvm_features: str
    rows: tuple[int, ...] = (1, 2, ROW_TILE)
    prefill: tuple[int, int] = (ROW_TILE, 1)
    own_routed: tuple[int, int] | None = None
    triple: str = ""

    @property
    def routed(self) -> tuple[int, int]:
        """`prefill` of the matmuls of experts."""
        return self.own_routed or self.prefill


_AVX2 = frozenset({"avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "popcnt"})
"""What x86-64-v3 has and LLVM uses unasked."""
_AVX512 = _AVX2 | {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"}
_VBMI = ("avx512vnni", "avx512vbmi")
_AMX = (*_VBMI, "amx-tile", "amx-int8")
_DOTPROD = frozenset({"lse", "dotprod"})
_I8MM = _DOTPROD | {"i8mm"}
_MORE_ROWS = (1, 2, ROW_TILE, 8, 16)

_AVX512_CPU = "icelake-server"
"""LLVM's model of it orders instructions so that no sums leave the registers. x86-64-v4 has an
older one, and prefill with two scales for 32 weights is a ninth slower."""

_AVX512_FEATURES = (
    "-avx512vbmi,-avx512vbmi2,-avx512bitalg,-avx512vpopcntdq,-avx512ifma,"
    "-gfni,-vaes,-vpclmulqdq,-sha,-pku,-rdpid"
)
"""Without what that CPU has and others of the tier may lack."""

_VBMI_TIER = Tier(
    "avx512vbmi",
    "x86_64",
    _AVX512.union(_VBMI),
    _AVX512_CPU,
    ",".join([_AVX512_FEATURES, *(f"+{name}" for name in _VBMI)]),
    rows=_MORE_ROWS,
    prefill=(ROW_TILE, 2),
)

TIERS: dict[str, Tier] = {
    tier.name: tier
    for tier in (  # weakest first
        Tier("generic", "any", frozenset(), "generic", ""),
        Tier("avx2", "x86_64", _AVX2, "x86-64-v3", "", prefill=(1, 2)),
        Tier("avxvnni", "x86_64", _AVX2 | {"avxvnni"}, "x86-64-v3", "+avxvnni"),
        Tier(
            "avx512vnni",
            "x86_64",
            _AVX512 | {"avx512vnni"},
            _AVX512_CPU,
            _AVX512_FEATURES,
            rows=_MORE_ROWS,
            prefill=(ROW_TILE, 2),
        ),
        _VBMI_TIER,
        replace(_VBMI_TIER, name="zen4", needs=_VBMI_TIER.needs | {"sse4a"}),  # of AMD's CPUs alone
        Tier(
            "amx",
            "x86_64",
            _AVX512.union(_AMX),
            _AVX512_CPU,
            ",".join([_AVX512_FEATURES, *(f"+{name}" for name in _AMX)]),
            rows=_MORE_ROWS,
            prefill=(TILE_ROWS, 2),
        ),
        Tier("neon_dotprod", "aarch64", _DOTPROD, "generic", "+lse,+dotprod"),
        Tier("neon_i8mm", "aarch64", _I8MM, "generic", "+lse,+dotprod,+i8mm"),
    )
}

_ARM_FEATURES = {  # LLVM's name: entry and bit of Linux's auxiliary vector; macOS's key
    "lse": (16, 8, "hw.optional.arm.FEAT_LSE"),
    "dotprod": (16, 20, "hw.optional.arm.FEAT_DotProd"),
    "i8mm": (26, 13, "hw.optional.arm.FEAT_I8MM"),
}


def host_features() -> frozenset[str]:
    """The LLVM feature names that this CPU and operating system offer."""
    return _known_to_llvm() | (_arm_features() if machine() == "aarch64" else set())


@cache
def _known_to_llvm() -> frozenset[str]:
    import llvmlite.binding as llvm

    return frozenset(name for name, present in llvm.get_host_cpu_features().items() if present)


def _arm_features() -> set[str]:
    """What LLVM does not tell: it knows few features under Linux and none under macOS."""
    if sys.platform == "linux":
        word = ctypes.CDLL(None).getauxval
        return {name for name, (entry, bit, _) in _ARM_FEATURES.items() if word(entry) >> bit & 1}
    if sys.platform == "darwin":
        return {name for name, (_, _, key) in _ARM_FEATURES.items() if _sysctl(key)}
    return set()


def _sysctl(key: str) -> int:
    """A number that macOS tells about itself; 0 for what it has no word for."""
    value, size = ctypes.c_int64(0), ctypes.c_size_t(8)
    ctypes.CDLL(None).sysctlbyname(key.encode(), ctypes.byref(value), ctypes.byref(size), None, 0)
    return value.value


def machine() -> str:
    """This machine's architecture under LLVM's name."""
    return {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())


def missing(tier: Tier, features: frozenset[str]) -> str:
    """Why a CPU with `features` cannot run `tier`; empty when it can.

    Asks the system for what a tier must have permission to use.
    """
    if tier.machine not in ("any", machine()):
        return f"needs {tier.machine}, this machine is {machine()}"
    lacking = sorted(tier.needs - features)
    if lacking:
        return f"this CPU lacks {', '.join(lacking)}"
    if "amx-tile" in tier.needs:
        from qrt.kernels.amx import refused

        return refused()
    return ""


def choose(wanted: str | None) -> Tier:
    """The tier named `wanted`, or the best this CPU can run; BackendError when it cannot."""
    features = host_features()
    if wanted is None:
        return [tier for tier in TIERS.values() if not missing(tier, features)][-1]
    if wanted not in TIERS:
        raise BackendError(f"QRT_ISA={wanted}: no such tier; choose from {', '.join(TIERS)}")
    why = missing(TIERS[wanted], features)
    if why:
        raise BackendError(f"QRT_ISA={wanted}: {why}; leave QRT_ISA unset to use the best tier")
    return TIERS[wanted]
