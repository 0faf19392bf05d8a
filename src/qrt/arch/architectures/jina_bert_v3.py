"""jina-bert-v3: jina-embeddings-v3, whose tasks have adapters in files of their own."""

from __future__ import annotations

from qrt.arch.encoder import Encoder


class Architecture(Encoder):
    """Sturua et al. 2024: XLM-RoBERTa with rotary embedding."""

    ffn = "plain"
