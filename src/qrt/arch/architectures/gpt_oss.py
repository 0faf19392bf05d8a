"""gpt-oss: gpt-oss-20b and gpt-oss-120b."""

from __future__ import annotations

from qrt.arch.experts import EXPERT_DIM, ExpertRules
from qrt.arch.hparams import Windows
from qrt.arch.mixture import Mixture


class Architecture(Mixture):
    """OpenAI 2025: sinks, every other layer with a window, experts with biases."""

    ffn_norm = "post_attention_norm"
    windows = Windows(period=2, length=None)
    sinks = True
    required_biases = (
        *("attn_output", "ffn_gate_inp"),
        *("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"),
    )
    rules = ExpertRules(
        keys=(EXPERT_DIM,), gating="softmax_of_chosen", renormalize=False, act="oai"
    )
