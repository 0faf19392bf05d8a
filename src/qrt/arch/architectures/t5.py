"""t5: T5, Flan-T5, mT5 and UMT5: their encoder alone, for embeddings."""

from __future__ import annotations

from collections.abc import Iterator

from qrt.arch.t5 import T5Encoder
from qrt.errors import ArchError
from qrt.graph.graph import Graph


class Architecture(T5Encoder):
    """Its decoder, which sees the encoder's rows, is not run."""

    def build(self, embedding: bool = False) -> Graph:
        if not (embedding or self.source.has("pooling_type")):
            raise ArchError(
                f"{self.source.where}: {self.source.arch} models answer by a decoder beside their "
                "encoder, which is not supported; `qrt embed` or embedding=True gives embeddings "
                "of the encoder; to generate, take a model without one"
            )
        return super().build(embedding)

    def unused(self) -> Iterator[str]:
        yield from super().unused()
        yield from (name for name in self.source.tensors if name.startswith("dec."))
