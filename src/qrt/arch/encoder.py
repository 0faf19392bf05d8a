"""The encoder that BERT and its relatives are a variant of."""

from __future__ import annotations

from typing import ClassVar, Literal

from qrt.arch.decoder import Decoder
from qrt.arch.hparams import Layer
from qrt.arch.source import Source
from qrt.graph.ops.add_types import AddTypes


class Encoder(Decoder):
    """Devlin et al. 2019: rows see all of their text; a LayerNorm behind every residual, none
    before; embeddings of types of tokens. Its hidden states are those of the last layer.
    """

    sees_ahead = True
    embed_norm = "token_embd_norm"
    norm_kind = "layer"
    attn_norm = None
    ffn_norm = None
    act: Literal["silu", "gelu", "gelu_erf", "relu", "relu2"] = "gelu_erf"
    required_biases: ClassVar[tuple[str, ...]] = (
        *("token_embd_norm", "attn_output_norm", "layer_output_norm"),
    )
    optional_biases: ClassVar[tuple[str, ...]] = ("attn_output", "ffn_up", "ffn_down")

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.n_types = source.count("tokenizer.ggml.token_type_count")

    def typed(self, x: str) -> str:
        name = "token_types"
        if f"{name}.weight" not in self.source.tensors:
            return x
        return self.graph.append(AddTypes(name, x, f"{name}.weight", self.n_types))

    def attended(self, layer: Layer, x: str, h: str) -> str:
        return self.norm(f"{layer.at}attn_output_norm", super().attended(layer, x, h))

    def block(self, layer: Layer, x: str) -> str:
        return self.norm(f"{layer.at}layer_output_norm", super().block(layer, x))

    def final(self, x: str) -> str:
        return x
