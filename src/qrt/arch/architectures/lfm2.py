"""lfm2: LFM2 and LFM2.5 dense models."""

from __future__ import annotations

from qrt.arch.decoder import Decoder
from qrt.arch.hparams import Kind, Layer, Windows
from qrt.arch.source import Source
from qrt.graph.op import Part
from qrt.graph.ops.glu import Glu


class Architecture(Decoder):
    """Liquid AI 2025: layers without heads of keys have a short convolution between two gates."""

    attention_is = "somewhere"
    output_norm = "token_embd_norm"
    qk_norm = "head"
    windows = Windows(period=0)

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.n_taps = source.count("shortconv.l_cache")

    def kind_of(self, layer: Layer) -> Kind:
        return "attention" if layer.n_kv_heads else "recurrent"

    def recurrent(self, layer: Layer, x: str) -> str:
        graph, at, dim = self.graph, layer.at, self.hp.dim
        names = [f"{at}shortconv.{part}" for part in ("before", "behind", "x")]
        both = self.linear(f"{at}shortconv.in_proj", x, 3 * dim)
        before, behind, x = self.split(both, dict.fromkeys(names, dim))
        h = graph.append(Glu(f"{at}shortconv.in", before, x, "linear"))
        h = self.conv(f"{at}shortconv.conv", Part(h), layer, dim=dim, n_taps=self.n_taps)
        h = graph.append(Glu(f"{at}shortconv.out", behind, h, "linear"))
        return self.linear(f"{at}shortconv.out_proj", h, dim)
