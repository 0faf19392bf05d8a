"""The words that kernels are written in: loads, stores, conversions and dots on addresses.

An address is an int64. Loads and stores are unaligned. `load_*` reads one value or vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from qrt.kernels.instructions import emit
from qrt.kernels.llvm import F32, I8, I16, I32, I64, constant, join, lanes_of, vector
from qrt.kernels.vectors import ELEMENTS, LANES, F32x16, I32x16, Vector, as_lanes, splat

ADDRESS = types.int64


def _read(builder: ir.IRBuilder, address: ir.Value, kind: ir.Type) -> ir.Value:
    value = builder.load(builder.inttoptr(address, kind.as_pointer()))
    value.align = 1
    return value


def _write(builder: ir.IRBuilder, address: ir.Value, value: ir.Value) -> None:
    builder.store(value, builder.inttoptr(address, value.type.as_pointer())).align = 1


def _reader(result: Any, emit_read: Any) -> Any:
    """An intrinsic of one address."""

    def read(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return emit_read(builder, args[0])

        return result(ADDRESS), codegen

    return intrinsic(read)


def _writer(value_type: Any, emit_write: Any) -> Any:
    """An intrinsic of an address and a value; other numbers are converted to `value_type`."""

    def write(typingctx: Any, address: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            emit_write(builder, args[0], args[1])
            return context.get_dummy_value()

        return types.void(ADDRESS, value_type), codegen

    return intrinsic(write)


def _reads_i32(lanes: int) -> Any:
    return _reader(Vector("i32", lanes), lambda b, a: _read(b, a, vector(I32, lanes)))


def load_halves(lanes: int) -> Any:
    """An intrinsic of an address: `lanes` float16 numbers as floats."""
    return _reader(
        Vector("f32", lanes), lambda b, a: emit("f16_to_f32", b, _read(b, a, vector(I16, lanes)))
    )


load_i64 = _reader(types.int64, lambda b, a: _read(b, a, I64))
load_i32 = _reader(types.int64, lambda b, a: b.sext(_read(b, a, I32), I64))
load_u8 = _reader(types.int64, lambda b, a: b.zext(_read(b, a, I8), I64))
load_f32 = _reader(types.float32, lambda b, a: _read(b, a, F32))
load_i32x16 = _reads_i32(16)
load_i32x32 = _reads_i32(32)
load_i32x64 = _reads_i32(64)
load_i32x128 = _reads_i32(128)
load_f32x16 = _reader(F32x16, lambda b, a: _read(b, a, vector(F32, LANES)))
load_f16x16 = load_halves(LANES)
load_bf16x16 = _reader(
    F32x16,
    lambda b, a: b.bitcast(
        b.shl(
            b.zext(_read(b, a, vector(I16, LANES)), vector(I32, LANES)), constant(I32, LANES, 16)
        ),
        vector(F32, LANES),
    ),
)
load_u16 = _reader(types.int64, lambda b, a: b.zext(_read(b, a, I16), I64))
load_i8x16 = _reader(
    F32x16, lambda b, a: b.sitofp(_read(b, a, vector(I8, LANES)), vector(F32, LANES))
)
each_half = _reader(F32x16, lambda b, a: emit("f16_to_f32", b, splat(b, _read(b, a, I16), LANES)))
load_u8x16 = _reader(I32x16, lambda b, a: b.zext(_read(b, a, vector(I8, LANES)), I32x16.llvm))
load_u16x16 = _reader(I32x16, lambda b, a: b.zext(_read(b, a, vector(I16, LANES)), I32x16.llvm))

store_i64 = _writer(types.int64, _write)
store_i32 = _writer(types.int64, lambda b, a, v: _write(b, a, b.trunc(v, I32)))
store_u8 = _writer(types.int64, lambda b, a, v: _write(b, a, b.trunc(v, I8)))
store_u16 = _writer(types.int64, lambda b, a, v: _write(b, a, b.trunc(v, I16)))
store_f32 = _writer(types.float32, _write)
store_f32x16 = _writer(F32x16, _write)
store_f16x16 = _writer(F32x16, lambda b, a, v: _write(b, a, emit("f32_to_f16", b, v)))
store_i8x16 = _writer(I32x16, lambda b, a, v: _write(b, a, b.trunc(v, vector(I8, LANES))))


def _elementwise(result: Any, emit_value: Any) -> Any:
    """An intrinsic of one vector whose result has as many lanes."""

    def apply(typingctx: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return emit_value(builder, args[0])

        return (Vector(result, value.lanes) if isinstance(result, str) else result)(value), codegen

    return intrinsic(apply)


def _reduce(op: str) -> Any:
    def emit_reduce(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
        n = value.type.count
        while n > 1:
            n //= 2
            low, high = lanes_of(builder, value, 0, n), lanes_of(builder, value, n, n)
            if op == "sum":
                value = builder.fadd(low, high)
            else:
                value = builder.select(builder.fcmp_ordered(">", low, high), low, high)
        return builder.extract_element(value, I32(0))

    return emit_reduce


to_f32 = _elementwise("f32", lambda b, v: b.sitofp(v, vector(F32, v.type.count)))
to_i32 = _elementwise("i32", lambda b, v: b.fptosi(v, vector(I32, v.type.count)))
as_f32 = _elementwise("f32", lambda b, v: b.bitcast(v, vector(F32, v.type.count)))
as_i32 = _elementwise("i32", lambda b, v: b.bitcast(v, vector(I32, v.type.count)))
sign_byte = _elementwise(
    "i32",
    lambda b, v: b.ashr(b.shl(v, constant(I32, v.type.count, 24)), constant(I32, v.type.count, 24)),
)
"""The lowest byte of each lane as a signed number."""
sum_lanes = _elementwise(types.float32, _reduce("sum"))
max_lanes = _elementwise(types.float32, _reduce("max"))


@intrinsic
def splat_f32(typingctx: Any, value: Any) -> Any:
    """A float in all 16 lanes."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return splat(builder, args[0], LANES)

    return F32x16(types.float32), codegen


def _lanewise(emit_value: Any) -> Any:
    """An intrinsic of f32 vectors of one width, some of which may be plain numbers."""

    def typing(args: tuple[Any, ...]) -> Any:
        result = next(a for a in args if isinstance(a, Vector))
        sig = result(*(a if a == result else types.float32 for a in args))

        def codegen(context: Any, builder: Any, sig: Any, values: Any) -> Any:
            return emit_value(builder, *(as_lanes(builder, v, result.lanes) for v in values))

        return sig, codegen

    return typing


_larger = _lanewise(lambda b, x, y: b.select(b.fcmp_ordered(">", x, y), x, y))
_smaller = _lanewise(lambda b, x, y: b.select(b.fcmp_ordered("<", x, y), x, y))
_multiply_add = _lanewise(lambda b, x, y, z: emit("fma", b, x, y, z))


half_f32 = _elementwise(
    "f32", lambda b, v: emit("f16_to_f32", b, b.trunc(v, vector(I16, v.type.count)))
)
"""The lower half of each lane as a float16."""


@intrinsic
def vmax(typingctx: Any, a: Any, b: Any) -> Any:
    """The larger of each pair of lanes."""
    return _larger((a, b))


@intrinsic
def vmin(typingctx: Any, a: Any, b: Any) -> Any:
    """The smaller of each pair of lanes."""
    return _smaller((a, b))


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once where the CPU can."""
    return _multiply_add((a, b, c))


def load_rows(kind: str) -> Any:
    """An intrinsic of (address, stride): 16 bytes of i16 or i32 from each of 16 rows, in turn."""
    part = vector(ELEMENTS[kind], 128 // ELEMENTS[kind].width)

    @intrinsic
    def load(typingctx: Any, address: Any, stride: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            starts = [builder.add(args[0], builder.mul(args[1], I64(i))) for i in range(LANES)]
            return join(builder, [_read(builder, start, part) for start in starts])

        return Vector(kind, LANES * part.count)(types.int64, types.int64), codegen

    return load


def sums_of_16(count: int) -> Any:
    """An intrinsic of the address of 16 vectors of 16 * `count` lanes: lane i of each 16 is the sum
    of those 16 in vector i.
    """
    n = LANES * count

    def folded(builder: ir.IRBuilder, first: ir.Value, second: ir.Value, bit: int) -> ir.Value:
        """Lanes whose number lacks a bit plus those that have it: of the first vector where the
        result's number lacks it, of the second elsewhere.
        """
        parts = []
        for wanted in (0, bit):
            index = [(i & ~bit | wanted) + (n if i & bit else 0) for i in range(n)]
            parts.append(builder.shuffle_vector(first, second, ir.Constant(vector(I32, n), index)))
        return builder.fadd(*parts)

    def emit_sums(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
        values = [
            _read(builder, builder.add(address, I64(4 * n * i)), vector(F32, n))
            for i in range(LANES)
        ]
        while len(values) > 1:
            half = len(values) // 2
            pairs = zip(values[:half], values[half:], strict=True)
            values = [folded(builder, first, second, half) for first, second in pairs]
        return values[0]

    return _reader(Vector("f32", n), emit_sums)


@intrinsic
def lane(typingctx: Any, value: Any, index: Any) -> Any:
    """One lane, chosen at run time: int64 of an i32 vector, float32 of an f32 one."""
    result = types.float32 if value.kind == "f32" else types.int64

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        picked = builder.extract_element(args[0], builder.trunc(args[1], I32))
        return picked if value.kind == "f32" else builder.zext(picked, I64)

    return result(value, types.int64), codegen


def lookup(table: tuple[int, ...]) -> Any:
    """An intrinsic that replaces every byte i (0..15) of an i32 vector by table[i]."""

    @intrinsic
    def replace(typingctx: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            n = 4 * index.lanes
            repeated = ir.Constant(vector(I8, n), [table[i % 16] for i in range(n)])
            found = emit("lookup16", builder, repeated, builder.bitcast(args[0], vector(I8, n)))
            return builder.bitcast(found, index.llvm)

        return index(index), codegen

    return replace


def lookup_f32(table: Sequence[float]) -> Any:
    """An intrinsic that makes of the lowest four bits i of each of 16 lanes the float table[i]."""

    @intrinsic
    def replace(typingctx: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return emit("lookup_f32", builder, ir.Constant(F32x16.llvm, list(table)), args[0])

        return F32x16(I32x16), codegen

    return replace


def gather(name: str, table: Sequence[int]) -> Any:
    """An intrinsic that replaces every lane i of an i32 vector by table[i].

    The table lies in the kernel's object, once under its name.
    """

    @intrinsic
    def replace(typingctx: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            words = ir.Constant(ir.ArrayType(I32, len(table)), list(table))
            kept = builder.module.globals.get(name)
            if kept is None:
                kept = cgutils.global_constant(builder.module, name, words)
                kept.align = 64
            return emit("gather", builder, kept, args[0])

        return index(index), codegen

    return replace


def zeros(lanes: int) -> Any:
    """An intrinsic without arguments: `lanes` float zeros."""

    @intrinsic
    def make(typingctx: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return constant(F32, lanes, 0.0)

        return Vector("f32", lanes)(), codegen

    return make


def load_wide(lanes: int, kind: str = "f32") -> Any:
    """An intrinsic of an address: `lanes` floats, or integers of 32 bits."""
    result = Vector(kind, lanes)
    return _reader(result, lambda b, a: _read(b, a, result.llvm))


@intrinsic
def scatter(typingctx: Any, address: Any, stride: Any, value: Any) -> Any:
    """Stores every 16 lanes of a vector `stride` bytes after those before."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        for i in range(value.lanes // LANES):
            at = builder.add(args[0], builder.mul(args[1], I64(i)))
            _write(builder, at, lanes_of(builder, args[2], LANES * i, LANES))
        return context.get_dummy_value()

    return types.void(ADDRESS, types.int64, value), codegen


def each_of(kind: str, count: int, stride: int, lanes: int = LANES) -> Any:
    """An intrinsic of an address: `count` values `stride` bytes apart, each in `lanes` lanes."""
    element = {"f32": F32, "i32": I32}[kind]
    return _reader(
        Vector(kind, lanes * count),
        lambda b, a: join(
            b,
            [splat(b, _read(b, b.add(a, I64(i * stride)), element), lanes) for i in range(count)],
        ),
    )


def each_run(count: int, stride: int) -> Any:
    """An intrinsic of an address: 16 floats from `count` places `stride` bytes apart, in turn."""
    return _reader(
        Vector("f32", LANES * count),
        lambda b, a: join(
            b, [_read(b, b.add(a, I64(i * stride)), vector(F32, LANES)) for i in range(count)]
        ),
    )


@intrinsic
def fetch_add(typingctx: Any, address: Any, amount: Any) -> Any:
    """Adds atomically, returns the value before."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], I64.as_pointer())
        return builder.atomic_rmw("add", pointer, args[1], "seq_cst")

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def store(typingctx: Any, address: Any, value: Any) -> Any:
    """Stores a vector of any width."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _write(builder, *args)
        return context.get_dummy_value()

    return types.void(ADDRESS, value), codegen
