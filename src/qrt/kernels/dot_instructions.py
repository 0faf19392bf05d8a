"""Rows of the instruction table for dot products of codes and int8 activations."""

from __future__ import annotations

from collections.abc import Iterator

from llvmlite import ir
from numba.core import cgutils

from qrt.kernels.llvm import (
    I8,
    I16,
    I32,
    Emitter,
    Intrinsic,
    constant,
    join,
    lanes_of,
    vector,
    words_of,
)
from qrt.kernels.vectors import splat

Rows = list[ir.Value]
Words = list[Iterator[ir.Value]]


def _dot4_plain(builder: ir.IRBuilder, acc: ir.Value, u8: ir.Value, i8: ir.Value) -> ir.Value:
    """Four products a lane, bytes taken out by shifts."""
    n = acc.type.count
    byte, top = constant(I32, n, 0xFF), constant(I32, n, 24)
    for shift in (0, 8, 16, 24):
        u = builder.and_(builder.lshr(u8, constant(I32, n, shift)), byte)
        s = builder.ashr(builder.shl(i8, constant(I32, n, 24 - shift)), top)
        acc = builder.add(acc, builder.mul(u, s))
    return acc


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


def _neon_dot(name: str) -> Emitter:
    """128-bit products whose operands are declared as bytes."""
    bytes16, words4 = vector(I8, 16), vector(I32, 4)

    def emit_dot(builder: ir.IRBuilder, acc: ir.Value, codes: ir.Value, i8: ir.Value) -> ir.Value:
        declared = ir.FunctionType(words4, [words4, bytes16, bytes16])
        fn = cgutils.get_or_insert_function(builder.module, declared, name)

        def cut(value: ir.Value, i: int, kind: ir.Type) -> ir.Value:
            return builder.bitcast(lanes_of(builder, value, i, 4), kind)

        return join(
            builder,
            [
                builder.call(fn, [cut(acc, i, words4), cut(codes, i, bytes16), cut(i8, i, bytes16)])
                for i in range(0, acc.type.count, 4)
            ],
        )

    return emit_dot


def _less_128(builder: ir.IRBuilder, codes: ir.Value) -> ir.Value:
    """Codes of 8 bits as signed bytes, 128 below."""
    return builder.xor(codes, constant(I32, codes.type.count, -0x7F7F7F80))


def _by_groups(dot4: Emitter) -> Emitter:
    """Every group of codes meets all rows before the next: few loads, sums that do not wait."""

    def emit_dots(builder: ir.IRBuilder, totals: Rows, groups: Rows, words: Words, _: int) -> Rows:
        for group in groups:
            pairs = zip(totals, words, strict=True)
            totals = [dot4(builder, total, group, next(row)) for total, row in pairs]
        return totals

    return emit_dots


def _by_rows(dot4: Emitter) -> Emitter:
    """One row after the other."""

    def emit_dots(builder: ir.IRBuilder, totals: Rows, groups: Rows, words: Words, _: int) -> Rows:
        result = []
        for total, row in zip(totals, words, strict=True):
            for group, word in zip(groups, row, strict=True):
                total = dot4(builder, total, group, word)
            result.append(total)
        return result

    return emit_dots


def _dots_maddubs(
    builder: ir.IRBuilder, totals: Rows, groups: Rows, words: Words, bits: int
) -> Rows:
    """Products are summed in 16 bits while they cannot overflow: eight groups of 4-bit codes."""
    depth = 0x7FFF // (2 * 127 * (2**bits - 1))
    for first in range(0, len(groups), depth):
        sums: Rows = []
        for group in groups[first : first + depth]:
            products = [_madd_bytes(builder, group, next(row)) for row in words]
            if sums:
                products = [builder.add(s, p) for s, p in zip(sums, products, strict=True)]
            sums = products
        totals = [builder.add(t, _madd_ones(builder, s)) for t, s in zip(totals, sums, strict=True)]
    return totals


def _dots_signed_maddubs(
    builder: ir.IRBuilder, totals: Rows, groups: Rows, words: Words, _: int
) -> Rows:
    """Magnitudes times activations that take over the sign: pairs stay below 2**15."""
    for group in groups:
        sign = words_of(builder, _less_128(builder, group), I8)
        size = _absolute(builder, sign)
        for i, row in enumerate(words):
            word = words_of(builder, next(row), I8)
            turned = _pairs(builder, "llvm.x86.avx2.psign.b", word, sign, I8)
            product = _madd_ones(builder, _madd_bytes(builder, size, turned))
            totals[i] = builder.add(totals[i], product)
    return totals


def _absolute(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    zero = constant(value.type.element, value.type.count, 0)
    negative = builder.icmp_signed("<", value, zero)
    return builder.select(negative, builder.sub(zero, value), value)


def _madd_bytes(builder: ir.IRBuilder, u8: ir.Value, i8: ir.Value) -> ir.Value:
    """Neighbouring products of unsigned and signed bytes, added in 16 bits."""
    u, s = words_of(builder, u8, I8), words_of(builder, i8, I8)
    return _pairs(builder, "llvm.x86.avx2.pmadd.ub.sw", u, s, I16)


def _madd_ones(builder: ir.IRBuilder, sums: ir.Value) -> ir.Value:
    """Neighbouring 16-bit sums, added in 32 bits."""
    ones = constant(I16, sums.type.count, 1)
    return _pairs(builder, "llvm.x86.avx2.pmadd.wd", sums, ones, I32)


def _dot4_flipped(builder: ir.IRBuilder, acc: ir.Value, codes: ir.Value, i8: ir.Value) -> ir.Value:
    return _SDOT(builder, acc, _less_128(builder, codes), i8)


def _times_128(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    return builder.shl(value, constant(I32, value.type.count, 7))


def _zeros(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    return constant(I32, value.type.count, 0)


def _load(builder: ir.IRBuilder, base: ir.Value, offset: int, kind: ir.Type) -> ir.Value:
    address = builder.add(base, base.type(offset))
    value = builder.load(builder.inttoptr(address, kind.as_pointer()))
    value.align = 1
    return value


def _words_singly(
    builder: ir.IRBuilder, base: ir.Value, offset: int, count: int, lanes: int
) -> Iterator[ir.Value]:
    """Each is loaded where it is used."""
    for i in range(count):
        yield splat(builder, _load(builder, base, offset + 4 * i, I32), lanes)


def _words_together(
    builder: ir.IRBuilder, base: ir.Value, offset: int, count: int, lanes: int
) -> Iterator[ir.Value]:
    """For dot products that take one lane of a register in place of all."""
    words = _load(builder, base, offset, vector(I32, count))
    for i in range(count):
        same = ir.Constant(vector(I32, lanes), [i] * lanes)
        yield builder.shuffle_vector(words, words, same)


_VNNI_512 = Intrinsic("llvm.x86.avx512.vpdpbusd.512", 16)
_VNNI_256 = Intrinsic("llvm.x86.avx512.vpdpbusd.256", 8)
_SDOT = _neon_dot("llvm.aarch64.neon.sdot.v4i32.v16i8")

DOTS: dict[str, dict[str, Emitter]] = {
    # for every row: its sums, one a lane, plus the products of 4 codes of `bits` bits and 4 signed
    # activations a lane, for every group of codes; codes are below 128
    "dots_below_128": {
        "generic": _by_groups(_dot4_plain),
        "avx2": _dots_maddubs,
        "avxvnni": _by_groups(_VNNI_256),
        "avx512vnni": _by_groups(_VNNI_512),
        "neon_dotprod": _by_rows(_SDOT),
    },
    # the same for codes of 8 bits that stand for values 128 below, where the sums begin with
    # `start_less_128` of the activations' negated sum
    "dots_less_128": {
        "generic": _by_groups(_dot4_plain),
        "avx2": _dots_signed_maddubs,
        "avxvnni": _by_groups(_VNNI_256),
        "avx512vnni": _by_groups(_VNNI_512),
        "neon_dotprod": _by_rows(_dot4_flipped),
        "neon_i8mm": _by_rows(_neon_dot("llvm.aarch64.neon.usdot.v4i32.v16i8")),
    },
    "start_less_128": {
        "generic": _times_128,
        "avx2": _zeros,
        "avxvnni": _times_128,
        "avx512vnni": _times_128,
        "neon_dotprod": _zeros,
        "neon_i8mm": _times_128,
    },
    # each of `count` 32-bit words at an offset from an address, in all of `lanes`
    "each_word": {"generic": _words_singly, "neon_dotprod": _words_together},
}
