"""IQ2_XS: IQ2_XXS with points of nine bits, four of the last above the signs, and two scales."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.grids import even_signs, four_of, fourth
from qrt.kernels.blocks.parts import in_a_row, odd_nibbles
from qrt.kernels.blocks.permuted import looks_up
from qrt.kernels.blocks.points import early, signed_eights
from qrt.kernels.intrinsics import load_f16x16, load_i32x16
from qrt.kernels.jit import inline
from qrt.kernels.permutes import bytes_from


@inline
def nine_bits(points, tops):
    """Four times nine bits, of the last the lowest four on top of `tops`."""
    mask = 0x1FF
    return (
        points & mask,
        (points >> 9) & mask,
        (points >> 18) & mask,
        ((points >> 23) & 0x1F0) | (tops >> 28),
    )


eight_bits, ninths = bytes_from(0, 9, 18, 23), bytes_from(8, 17, 26, 31)


@inline
def in_words(points, tops):
    """The same as lookups want them."""
    mask = 0x0F000000
    return (eight_bits(points) & ~mask) | ((tops >> 4) & mask), ninths(points)


@inline
def scales_of(p, i, d):
    """Those of run i."""
    words = load_i32x16(p + 32 + 64 * (i >> 2) + (i & 3))
    return d * odd_nibbles(words), d * odd_nibbles(words >> 4)


@inline
def words_of_four(p):
    """The words at `p` of a run and the next three."""
    return four_of(load_i32x16(p), load_i32x16(p + 128), load_i32x16(p + 256), load_i32x16(p + 384))


def in_turn(update: Any, ask: Any) -> Any:
    """Run by run."""
    codes, numbers = signed_eights("IQ2_XS", nine_bits, in_words)

    @inline
    def at(p, i):
        """The numbers of four points, and the signs of 32 values."""
        points, signs = load_i32x16(p + 160 + 128 * i), load_i32x16(p + 224 + 128 * i)
        return numbers(points, signs), even_signs(signs)

    first, known = early(at)

    @inline
    def visit(state, p, x, step):
        d, following = load_f16x16(p) * 0.125, first(p)
        for i in range(8):
            ask(p + 148 * i)
            here, following = known(p, i, following)
            scales = scales_of(p, i, d)
            state = update(state, codes(here[0], here[1]), scales, (), x)
            x += step
        return state

    return visit


def in_fours(update: Any, ask: Any) -> Any:
    """Points of four runs are looked up together: registers have no room for all of the tables."""
    codes, numbers = signed_eights("IQ2_XS", nine_bits, in_words)

    @inline
    def add(state, p, d, i, known, j, x):
        """Run i + j, of the j-th of what is known."""
        ask(p + 148 * (i + j))
        scales, (low, high, signs) = scales_of(p, i + j, d), known
        found = fourth(low, j), fourth(high, j)
        return update(state, codes(found, fourth(signs, j)), scales, (), x)

    @inline
    def visit(state, p, x, step):
        d = load_f16x16(p) * 0.125
        for i in range(0, 8, 4):
            at = p + 160 + 128 * i
            signs = words_of_four(at + 64)
            low, high = numbers(words_of_four(at), signs)
            known = low, high, even_signs(signs)
            state = add(state, p, d, i, known, 0, x)
            state = add(state, p, d, i, known, 1, x + step)
            state = add(state, p, d, i, known, 2, x + 2 * step)
            state = add(state, p, d, i, known, 3, x + 3 * step)
            x += 4 * step
        return state

    return visit


def build(update: Any, fetch: Any) -> Any:
    visit_of = in_fours if looks_up("IQ2_XS") else in_turn
    return visit_of(update, in_a_row(fetch, 148))
