"""jina-bert-v2: jina-embeddings-v2 and jina-reranker-v1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from qrt.arch.encoder import Encoder
from qrt.arch.hparams import Layer
from qrt.arch.source import Source
from qrt.graph.ops.add import Add


class Architecture(Encoder):
    """Guenther et al. 2023: BERT with ALiBi to both sides; the network has a gate in `ffn_gate`,
    or in `ffn_up`, or none. Some files have a second norm behind attention, and norms of queries
    and keys.
    """

    rope_style = None
    qk_norm = "row"
    optional_norms = ("attn_q_norm", "attn_k_norm")
    required_biases: ClassVar[tuple[str, ...]] = (
        *Encoder.required_biases,
        *("attn_output", "ffn_down", "attn_q_norm", "attn_k_norm", "attn_norm_2"),
    )

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        up = source.tensors.get("blk.0.ffn_up.weight")
        if "ffn_gate.weight" not in source.stems:
            whole = up is not None and up.shape[0] != self.hp.layers[0].ffn_dim
            self.ffn = "fused" if whole else "plain"

    def numbers(self) -> Mapping[str, float | None]:
        return {"attention.max_alibi_bias": 8.0}

    def attended(self, layer: Layer, x: str, h: str) -> str:
        found = super().attended(layer, x, h)
        if f"{layer.at}attn_norm_2.weight" not in self.source.tensors:
            return found
        both = self.graph.append(Add(f"{layer.at}attn_add_2", found, x))
        return self.norm(f"{layer.at}attn_norm_2", both)
