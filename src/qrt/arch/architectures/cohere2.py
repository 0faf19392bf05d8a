"""cohere2: Command R7B, Command A, Aya Vision's text side."""

from __future__ import annotations

from qrt.arch.architectures import command_r
from qrt.arch.hparams import Layer, Windows
from qrt.graph.ops.rope import RopeSpec


class Architecture(command_r.Architecture):
    """Cohere 2025: three layers of four have a window and rope, the fourth has neither."""

    windows = Windows(period=4, length=None)

    def rope_spec(self, layer: Layer) -> RopeSpec | None:
        return None if layer.window is None else super().rope_spec(layer)
