"""llama-embed: Llama-Embed-Nemotron."""

from __future__ import annotations

from qrt.arch.architectures import llama
from qrt.graph.graph import Graph


class Architecture(llama.Architecture):
    """Babakhin et al. 2025: Llama for embeddings alone; files say that rows see those behind."""

    def build(self, embedding: bool | None = True) -> Graph:  # noqa: ARG002
        return super().build(embedding=True)
