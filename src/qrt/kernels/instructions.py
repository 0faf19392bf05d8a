"""The instruction table: what a generic operation becomes on each tier.

A row names an LLVM intrinsic and the width it works at, or an emitter in plain IR. Vectors wider
than a row's width are cut, fed through it piece by piece and joined again. The tier is fixed once
per compiling process by `select`.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from qrt.kernels.dot_instructions import DOTS
from qrt.kernels.llvm import F32, I8, I16, I32, Emitter, Intrinsic, constant, join, lanes_of, vector
from qrt.kernels.tile_instructions import TILE_INSTRUCTIONS
from qrt.kernels.vectors import splat


def _lookup_plain(builder: ir.IRBuilder, table: ir.Value, index: ir.Value) -> ir.Value:
    """table[index] for bytes 0..15, by sixteen selections."""
    n = index.type.count
    result = constant(I8, n, 0)
    for i in range(16):
        entry = splat(builder, builder.extract_element(table, I32(i)), n)
        hit = builder.icmp_unsigned("==", index, constant(I8, n, i))
        result = builder.select(hit, entry, result)
    return result


def _gather_plain(builder: ir.IRBuilder, table: ir.Value, index: ir.Value) -> ir.Value:
    """table[index] lane by lane."""
    found = ir.Constant(index.type, ir.Undefined)
    for i in range(index.type.count):
        at = builder.gep(table, [I32(0), builder.extract_element(index, I32(i))])
        found = builder.insert_element(found, builder.load(at), I32(i))
    return found


def _gather_by(name: str, lanes: int, mask: ir.Type, scale: ir.Type) -> Emitter:
    """table[index] by an instruction for `lanes` of them."""
    words, bytes_at = vector(I32, lanes), I8.as_pointer()
    declared = ir.FunctionType(words, [words, bytes_at, words, mask, scale])

    def emit_gather(builder: ir.IRBuilder, table: ir.Value, index: ir.Value) -> ir.Value:
        fn = cgutils.get_or_insert_function(builder.module, declared, name)
        base, none = builder.bitcast(table, bytes_at), ir.Constant(words, [0] * lanes)
        every = ir.Constant(mask, [-1] * lanes)
        parts = (lanes_of(builder, index, i, lanes) for i in range(0, index.type.count, lanes))
        return join(
            builder, [builder.call(fn, [none, base, part, every, scale(4)]) for part in parts]
        )

    return emit_gather


def _permuted_floats(builder: ir.IRBuilder, table: ir.Value, index: ir.Value) -> ir.Value:
    """table[index % 16] by one instruction for 16 of them."""
    kind = ir.FunctionType(table.type, [table.type, index.type])
    name = "llvm.x86.avx512.permvar.sf.512"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [table, index])


def _bytes(count: int) -> Emitter:
    """A number of bytes, without instructions."""
    return lambda: count


def _fma_plain(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    return builder.fadd(builder.fmul(a, b), c)


def _f16_to_f32_native(builder: ir.IRBuilder, half: ir.Value) -> ir.Value:
    as_half = builder.bitcast(half, vector(ir.HalfType(), half.type.count))
    return builder.fpext(as_half, vector(F32, half.type.count))


def _f16_to_f32_plain(builder: ir.IRBuilder, half: ir.Value) -> ir.Value:
    """Exponent and mantissa moved into place; the multiplication rebiases and keeps subnormals."""
    n = half.type.count
    bits = builder.zext(half, vector(I32, n))
    magnitude = builder.shl(builder.and_(bits, constant(I32, n, 0x7FFF)), constant(I32, n, 13))
    scaled = builder.fmul(
        builder.bitcast(magnitude, vector(F32, n)), constant(F32, n, float(2**112))
    )
    special = builder.icmp_unsigned(">=", magnitude, constant(I32, n, 0x7C00 << 13))
    infinite = builder.or_(magnitude, constant(I32, n, 0x7F800000))
    value = builder.select(special, infinite, builder.bitcast(scaled, vector(I32, n)))
    sign = builder.shl(builder.and_(bits, constant(I32, n, 0x8000)), constant(I32, n, 16))
    return builder.bitcast(builder.or_(value, sign), vector(F32, n))


def _f32_to_f16_native(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    half = builder.fptrunc(value, vector(ir.HalfType(), value.type.count))
    return builder.bitcast(half, vector(I16, value.type.count))


def _f32_to_f16_plain(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Round to nearest even: normal halves by an integer carry, subnormal ones by adding 0.5."""
    n = value.type.count

    def c(number: int) -> ir.Constant:
        return constant(I32, n, number)

    bits = builder.bitcast(value, vector(I32, n))
    magnitude = builder.and_(bits, c(0x7FFFFFFF))
    odd = builder.and_(builder.lshr(magnitude, c(13)), c(1))
    rebiased = builder.sub(builder.add(magnitude, c(0xFFF)), c(112 << 23))
    normal = builder.lshr(builder.add(rebiased, odd), c(13))
    shifted = builder.fadd(builder.bitcast(magnitude, vector(F32, n)), constant(F32, n, 0.5))
    tiny = builder.sub(builder.bitcast(shifted, vector(I32, n)), c(0x3F000000))
    nan = builder.icmp_unsigned(">", magnitude, c(0x7F800000))
    large = builder.select(nan, c(0x7E00), c(0x7C00))
    half = builder.select(builder.icmp_unsigned("<", magnitude, c(113 << 23)), tiny, normal)
    half = builder.select(builder.icmp_unsigned(">=", magnitude, c(143 << 23)), large, half)
    sign = builder.and_(builder.lshr(bits, c(16)), c(0x8000))
    return builder.trunc(builder.or_(half, sign), vector(I16, n))


INSTRUCTIONS: dict[str, dict[str, Emitter]] = {
    **DOTS,
    # table[index] for bytes; the table of 16 stands in every 16-byte part
    "lookup16": {
        "generic": _lookup_plain,
        "avx2": Intrinsic("llvm.x86.avx2.pshuf.b", 8, bytewise=True),
        "avx512vnni": Intrinsic("llvm.x86.avx512.pshuf.b.512", 16, bytewise=True),
        "neon_dotprod": Intrinsic("llvm.aarch64.neon.tbl1.v16i8", 4, bytewise=True),
    },
    # table[index] for bytes, of which six bits count; the table is 64 bytes
    "lookup64": {
        "avx512vbmi": Intrinsic("llvm.x86.avx512.permvar.qi.512", 16, bytewise=True),
    },
    # the same of seven bits, between the halves of a table, where it takes as long as of six
    "lookup128": {
        "zen4": Intrinsic("llvm.x86.avx512.vpermi2var.qi.512", 16, bytewise=True),
    },
    # of each 64-bit word the bytes that begin at eight of its bits, which come first
    "unaligned_bytes": {
        "avx512vbmi": Intrinsic("llvm.x86.avx512.pmultishift.qb.512", 16, bytewise=True),
    },
    # table[index] for 16 floats, of the index four bits count
    "lookup_f32": {"avx512vnni": _permuted_floats},
    # table[index] for words of a table in memory
    "gather": {
        "generic": _gather_plain,
        "avx2": _gather_by("llvm.x86.avx2.gather.d.d.256", 8, vector(I32, 8), I8),
        "avx512vnni": _gather_by(
            "llvm.x86.avx512.mask.gather.dpi.512", 16, vector(ir.IntType(1), 16), I32
        ),
    },
    # between what is in use of weights or of a cache and what is asked for from memory: so few that
    # Intel's processors, which ask within a page of memory, add requests of their own; AMD's read
    # a tenth faster with more than a page
    "bytes_ahead": {"generic": _bytes(2560), "zen4": _bytes(6144)},
    "fma": {
        "generic": _fma_plain,
        "avx2": Intrinsic("llvm.fma.v8f32", 8),
        "avx512vnni": Intrinsic("llvm.fma.v16f32", 16),
        "neon_dotprod": Intrinsic("llvm.fma.v4f32", 4),
    },
    "f16_to_f32": {
        "generic": _f16_to_f32_plain,
        "avx2": _f16_to_f32_native,
        "neon_dotprod": _f16_to_f32_native,
    },
    "f32_to_f16": {
        "generic": _f32_to_f16_plain,
        "avx2": _f32_to_f16_native,
        "neon_dotprod": _f32_to_f16_native,
    },
    **TILE_INSTRUCTIONS,
}

FALLS_BACK: dict[str, tuple[str, ...]] = {
    "generic": ("generic",),
    "avx2": ("avx2", "generic"),
    "avxvnni": ("avxvnni", "avx2", "generic"),
    "avx512vnni": ("avx512vnni", "avx2", "generic"),
    "avx512vbmi": ("avx512vbmi", "avx512vnni", "avx2", "generic"),
    "zen4": ("zen4", "avx512vbmi", "avx512vnni", "avx2", "generic"),
    "amx": ("amx", "avx512vbmi", "avx512vnni", "avx2", "generic"),
    "neon_dotprod": ("neon_dotprod", "generic"),
    "neon_i8mm": ("neon_i8mm", "neon_dotprod", "generic"),
}

_selected: dict[str, Emitter] = {}


def select(tier: str) -> None:
    """Fixes the rows that this process compiles with."""
    _selected.clear()
    for column in reversed(FALLS_BACK[tier]):
        _selected.update({name: row[column] for name, row in INSTRUCTIONS.items() if column in row})


def offers(name: str) -> bool:
    """Whether the selected tier has instruction `name`, which some lack."""
    return name in _selected


def emit(name: str, builder: ir.IRBuilder, *args: Any) -> Any:
    """IR of instruction `name` for the selected tier."""
    return _selected[name](builder, *args)


def bytes_ahead() -> int:
    """How far ahead of what is in use the selected tier asks for memory."""
    count: int = _selected["bytes_ahead"]()
    return count


def register_lanes() -> int:
    """32-bit lanes of the registers that the selected tier counts in."""
    fma = _selected["fma"]
    return fma.lanes if isinstance(fma, Intrinsic) else 4
