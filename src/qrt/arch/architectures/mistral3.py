"""mistral3: Ministral 3 and Devstral 2, their text side."""

from __future__ import annotations

from qrt.arch.architectures import llama
from qrt.arch.hparams import Layer
from qrt.graph.ops.temper import Temper


class Architecture(llama.Architecture):
    """Mistral AI 2025: YaRN, and queries that grow behind the original context."""

    yarn_keys = ("beta_fast", "beta_slow", "log_multiplier")

    def tempered(self, layer: Layer, q: str) -> str:
        scale = self.source.real("attention.temperature_scale", 0.0)
        if scale == 0.0:
            return q
        n_ctx = self.hp.n_ctx_train
        length = self.source.count("rope.scaling.original_context_length", n_ctx)
        return self.graph.append(Temper(f"{layer.at}attn_q_tempered", q, length, scale))
