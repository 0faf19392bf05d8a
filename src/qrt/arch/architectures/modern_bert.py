"""modern-bert: ModernBERT, and the embedding models made of it."""

from __future__ import annotations

from typing import ClassVar, Final

from qrt.arch.decoder import Decoder
from qrt.arch.hparams import Layer, Windows
from qrt.arch.source import Source

ACTS: Final = {
    **dict.fromkeys(("gelu", "geglu"), "gelu_erf"),
    **dict.fromkeys(("silu", "swish", "swiglu"), "silu"),
    "gelu_pytorch_tanh": "gelu",
}
"""Activations by the names that files have for them."""


class Architecture(Decoder):
    """Warner et al. 2024: norms before, without biases; all positions are seen in every third layer
    from the first on, half a window to either side elsewhere, with a rotary base of their own.
    """

    sees_ahead = True
    embed_norm = "token_embd_norm"
    norm_kind = "layer"
    windows = Windows(period=3, global_first=True)
    local_rope_base = 10000.0
    ffn = "fused"
    cls_act = "gelu_erf"
    cls_pooling: ClassVar = "mean"

    def __init__(self, source: Source) -> None:
        self.act = ACTS[source.choice("hidden_activation", tuple(ACTS), "gelu")]  # type: ignore[assignment]
        super().__init__(source)

    def norm_of(self, layer: Layer, stem: str | None, x: str) -> str:
        """The embeddings are normalized already: the first layer may lack a norm of its own."""
        first = layer.number == 0 and stem == self.attn_norm
        if first and f"{layer.at}{stem}.weight" not in self.source.tensors:
            return x
        return super().norm_of(layer, stem, x)
