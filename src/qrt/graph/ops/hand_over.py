"""HandOver: a value that is there is put into the forms that matmuls want."""

from __future__ import annotations

from dataclasses import dataclass

from qrt.graph.op import Op


@dataclass(frozen=True, slots=True)
class HandOver(Op):
    """x in more forms; made by `lower` where the op before cannot do it."""

    kind = "hand_over"
    hands_over = True
    forms_alone = True

    x: str

    @property
    def out(self) -> str:  # type: ignore[override]
        return self.x

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.x,)
