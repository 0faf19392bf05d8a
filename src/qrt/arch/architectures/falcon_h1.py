"""falcon-h1: Falcon H1."""

from __future__ import annotations

from qrt.arch.hparams import Kind, Layer
from qrt.arch.mamba import Mamba2
from qrt.graph.ops.add import Add


class Architecture(Mamba2):
    """Zuo et al. 2025: attention and Mamba-2 side by side in every layer."""

    attention_is = "everywhere"
    required_biases = ()
    optional_biases = ("ssm_conv1d", "ffn_gate", "ffn_up", "ffn_down")
    optional_norms = ("ssm_norm",)
    ignored = frozenset({"rope_freqs.weight"})

    def kind_of(self, layer: Layer) -> Kind:  # noqa: ARG002
        return "attention"

    def mixed(self, layer: Layer, x: str) -> str:
        both = self.attention(layer, x), self.recurrent(layer, x)
        return self.graph.append(Add(f"{layer.at}mixed", *both))
