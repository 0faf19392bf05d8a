"""Asks for weights that lie ahead of those in use."""

from __future__ import annotations

from typing import Any

from numba.core import cgutils, types
from numba.extending import intrinsic

from qrt.kernels.intrinsics import I64, ask_for

LINE_BYTES = 64

FEW = 4
"""Lines that are asked for one by one: a loop over so few takes longer than they do. More of them
in a burst would stall.
"""


def fetch_ahead(distance: int) -> Any:
    """An intrinsic fetch(p, n_bytes) that asks for the n_bytes, a constant, `distance` after p."""

    @intrinsic(prefer_literal=True)
    def fetch(typingctx: Any, p: Any, n_bytes: Any) -> Any:
        n_lines = -(-n_bytes.literal_value // LINE_BYTES)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            start = builder.add(args[0], I64(distance))
            if n_lines <= FEW:
                for i in range(n_lines):
                    ask_for(builder, builder.add(start, I64(LINE_BYTES * i)))
            else:
                with cgutils.for_range(builder, I64(n_lines)) as loop:
                    ask_for(builder, builder.add(start, builder.mul(loop.index, I64(LINE_BYTES))))
            return context.get_dummy_value()

        return types.void(types.int64, n_bytes), codegen

    return fetch
