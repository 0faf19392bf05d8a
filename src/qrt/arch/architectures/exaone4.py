"""exaone4: EXAONE 4."""

from __future__ import annotations

from qrt.arch.architectures import olmo2
from qrt.arch.hparams import Layer, Windows
from qrt.arch.source import Source
from qrt.graph.ops.rope import RopeSpec


class Architecture(olmo2.Architecture):
    """LG AI Research 2025: norms after alone, and of each head. The model of 64 layers has windows
    in three of four; the layers that see all go without rope.
    """

    qk_norm = "head"
    local_rope_scaled = True
    rope_factors = "rope_freqs.weight"

    def __init__(self, source: Source) -> None:
        n_layers = source.count("block_count") - source.count("nextn_predict_layers", 0)
        self.windows = Windows(period=4, length=4096) if n_layers == 64 else None
        super().__init__(source)

    def rope_spec(self, layer: Layer) -> RopeSpec | None:
        sees_all = self.windows is not None and layer.window is None
        return None if sees_all else super().rope_spec(layer)
