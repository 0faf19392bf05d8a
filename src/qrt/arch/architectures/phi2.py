"""phi2: Phi-1, Phi-1.5 and Phi-2."""

from __future__ import annotations

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """Javaheripi et al. 2023: one LayerNorm for attention and the network beside it, biases."""

    norm_kind = "layer"
    parallel = True
    ffn_norm = None
    ffn = "plain"
    act = "gelu"
    required_biases = (
        *("attn_norm", "output_norm", "output"),
        *("attn_output", "ffn_up", "ffn_down"),
    )
