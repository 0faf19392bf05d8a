"""bert: BERT, RoBERTa, XLM-RoBERTa, DistilBERT, and most sentence-transformers."""

from __future__ import annotations

from qrt.arch.encoder import Encoder


class Architecture(Encoder):
    """Devlin et al. 2019: learned positions, no rotary embedding, no gate."""

    learned_positions = True
    rope_style = None
    ffn = "plain"
