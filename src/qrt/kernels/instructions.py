"""The instruction table: what a generic operation becomes on each tier.

A row names an LLVM intrinsic and the width it works at, or an emitter in plain IR. Vectors wider
than a row's width are cut, fed through it piece by piece and joined again. The tier is fixed once
per compiling process by `select`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir
from numba.core import cgutils

from qrt.kernels.vectors import splat

I8, I16, I32 = ir.IntType(8), ir.IntType(16), ir.IntType(32)
F32 = ir.FloatType()


def vector(element: ir.Type, lanes: int) -> ir.VectorType:
    return ir.VectorType(element, lanes)


def constant(element: ir.Type, lanes: int, value: float) -> ir.Constant:
    return ir.Constant(vector(element, lanes), [value] * lanes)


def lanes_of(builder: ir.IRBuilder, value: ir.Value, first: int, count: int) -> ir.Value:
    """Lanes first .. first + count - 1 of a vector."""
    if first == 0 and value.type.count == count:
        return value
    undefined = ir.Constant(value.type, ir.Undefined)
    index = ir.Constant(vector(I32, count), list(range(first, first + count)))
    return builder.shuffle_vector(value, undefined, index)


def join(builder: ir.IRBuilder, parts: list[ir.Value]) -> ir.Value:
    """The parts (a power of two of them, equally wide) side by side."""
    while len(parts) > 1:
        n = 2 * parts[0].type.count
        index = ir.Constant(vector(I32, n), list(range(n)))
        parts = [
            builder.shuffle_vector(a, b, index)
            for a, b in zip(parts[::2], parts[1::2], strict=True)
        ]
    return parts[0]


Emitter = Callable[..., ir.Value]


@dataclass(frozen=True, slots=True)
class Intrinsic:
    """An LLVM intrinsic on vectors of `lanes` 32-bit lanes."""

    name: str
    lanes: int
    bytewise: bool = False  # operands and result are declared as bytes

    def __call__(self, builder: ir.IRBuilder, *args: ir.Value) -> ir.Value:
        element, per_lane = (I8, 4) if self.bytewise else (args[0].type.element, 1)
        wide = vector(element, self.lanes * per_lane)
        declared = ir.FunctionType(wide, [wide] * len(args))
        fn = cgutils.get_or_insert_function(builder.module, declared, self.name)
        return join(
            builder,
            [
                builder.call(fn, [lanes_of(builder, a, i, wide.count) for a in args])
                for i in range(0, args[0].type.count, wide.count)
            ],
        )


def _words(builder: ir.IRBuilder, value: ir.Value, element: ir.Type) -> ir.Value:
    per_lane = 32 // element.width
    return builder.bitcast(value, vector(element, value.type.count * per_lane))


def _dot4_plain(builder: ir.IRBuilder, acc: ir.Value, u8: ir.Value, i8: ir.Value) -> ir.Value:
    """Four products a lane, bytes taken out by shifts."""
    n = acc.type.count
    byte, top = constant(I32, n, 0xFF), constant(I32, n, 24)
    for shift in (0, 8, 16, 24):
        u = builder.and_(builder.lshr(u8, constant(I32, n, shift)), byte)
        s = builder.ashr(builder.shl(i8, constant(I32, n, 24 - shift)), top)
        acc = builder.add(acc, builder.mul(u, s))
    return acc


def _dot4_madd(builder: ir.IRBuilder, acc: ir.Value, u8: ir.Value, i8: ir.Value) -> ir.Value:
    """Even and odd bytes widened to 16 bits: exact for all 8 bits of both sides."""
    u, s = _words(builder, u8, I16), _words(builder, i8, I16)
    n = u.type.count
    eight = constant(I16, n, 8)
    even = builder.and_(u, constant(I16, n, 0xFF)), builder.ashr(builder.shl(s, eight), eight)
    odd = builder.lshr(u, eight), builder.ashr(s, eight)
    for left, right in (even, odd):
        acc = builder.add(acc, _pairs(builder, "llvm.x86.avx2.pmadd.wd", left, right, I32))
    return acc


def _dot4_maddubs(builder: ir.IRBuilder, acc: ir.Value, u7: ir.Value, i8: ir.Value) -> ir.Value:
    """pmaddubsw saturates its 16-bit sums, which codes of 7 bits cannot reach."""
    u, s = _words(builder, u7, I8), _words(builder, i8, I8)
    sums = _pairs(builder, "llvm.x86.avx2.pmadd.ub.sw", u, s, I16)
    ones = constant(I16, sums.type.count, 1)
    return builder.add(acc, _pairs(builder, "llvm.x86.avx2.pmadd.wd", sums, ones, I32))


def _pairs(builder: ir.IRBuilder, name: str, a: ir.Value, b: ir.Value, result: ir.Type) -> ir.Value:
    """A 256-bit instruction that multiplies and adds neighbours into lanes twice as wide."""
    narrow = vector(a.type.element, 256 // a.type.element.width)
    wide = vector(result, 256 // result.width)
    fn = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(wide, [narrow, narrow]), name
    )
    return join(
        builder,
        [
            builder.call(
                fn, [lanes_of(builder, a, i, narrow.count), lanes_of(builder, b, i, narrow.count)]
            )
            for i in range(0, a.type.count, narrow.count)
        ],
    )


def _lookup_plain(builder: ir.IRBuilder, table: ir.Value, index: ir.Value) -> ir.Value:
    """table[index] for bytes 0..15, by sixteen selections."""
    n = index.type.count
    result = constant(I8, n, 0)
    for i in range(16):
        entry = splat(builder, builder.extract_element(table, I32(i)), n)
        hit = builder.icmp_unsigned("==", index, constant(I8, n, i))
        result = builder.select(hit, entry, result)
    return result


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


_VNNI_512 = Intrinsic("llvm.x86.avx512.vpdpbusd.512", 16)
_VNNI_256 = Intrinsic("llvm.x86.avx512.vpdpbusd.256", 8)

INSTRUCTIONS: dict[str, dict[str, Emitter]] = {
    # acc[i] + four products of unsigned codes and signed activations in lane i
    "dot4_u8i8": {
        "generic": _dot4_plain,
        "avx2": _dot4_madd,
        "avxvnni": _VNNI_256,
        "avx512vnni": _VNNI_512,
    },
    # the same where codes are below 128
    "dot4_u7i8": {
        "generic": _dot4_plain,
        "avx2": _dot4_maddubs,
        "avxvnni": _VNNI_256,
        "avx512vnni": _VNNI_512,
    },
    # table[index] for bytes; the table of 16 stands in every 16-byte part
    "lookup16": {
        "generic": _lookup_plain,
        "avx2": Intrinsic("llvm.x86.avx2.pshuf.b", 8, bytewise=True),
        "avx512vnni": Intrinsic("llvm.x86.avx512.pshuf.b.512", 16, bytewise=True),
    },
    "fma": {"generic": _fma_plain, "avx2": Intrinsic("llvm.fma.v8f32", 8),
            "avx512vnni": Intrinsic("llvm.fma.v16f32", 16)},
    "f16_to_f32": {"generic": _f16_to_f32_plain, "avx2": _f16_to_f32_native},
    "f32_to_f16": {"generic": _f32_to_f16_plain, "avx2": _f32_to_f16_native},
}  # fmt: skip

FALLS_BACK: dict[str, tuple[str, ...]] = {
    "generic": ("generic",),
    "avx2": ("avx2", "generic"),
    "avxvnni": ("avxvnni", "avx2", "generic"),
    "avx512vnni": ("avx512vnni", "avx2", "generic"),
}

_selected: dict[str, Emitter] = {}


def select(tier: str) -> None:
    """Fixes the rows that this process compiles with."""
    for name, rows in INSTRUCTIONS.items():
        _selected[name] = next(rows[t] for t in FALLS_BACK[tier] if t in rows)


def emit(name: str, builder: ir.IRBuilder, *args: ir.Value) -> ir.Value:
    """IR of instruction `name` for the selected tier."""
    return _selected[name](builder, *args)
