"""Write the trained model as a GGUF file: bert architecture, WPM vocabulary, mean pooling."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from model import Config
from vocabulary import CLS, MASK, PAD, SEP, SPECIAL, UNK

from qrt.formats.quants import QTYPES
from qrt.formats.writer import TensorSource, write_gguf

sys.path.append(str(Path(__file__).parent.parent))
from about import FILE_TYPES, general_metadata

NORMAL, UNKNOWN, CONTROL = 1, 2, 3
MEAN = 1
WORD_START = "\u2581"


def bert_metadata(config: Config) -> dict[str, object]:
    """The dimensions under the names of the bert architecture."""
    return {
        "bert.vocab_size": config.n_vocab,
        "bert.context_length": config.n_ctx,
        "bert.embedding_length": config.dim,
        "bert.block_count": config.n_layers,
        "bert.feed_forward_length": config.ffn_dim,
        "bert.attention.head_count": config.n_heads,
        "bert.attention.layer_norm_epsilon": config.norm_eps,
        "bert.attention.causal": False,
        "bert.pooling_type": MEAN,
    }


def tokenizer_metadata(vocab: list[str]) -> dict[str, object]:
    """The vocabulary under the names of the `bert` tokenizer: pieces that begin a word are marked,
    those inside one are plain."""
    pieces = [
        piece if piece in SPECIAL else piece[2:] if piece.startswith("##") else WORD_START + piece
        for piece in vocab
    ]
    kinds = [UNKNOWN if i == UNK else CONTROL if i < len(SPECIAL) else NORMAL
             for i in range(len(vocab))]  # fmt: skip
    return {
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": pieces,
        "tokenizer.ggml.token_type": np.array(kinds, np.int32),
        "tokenizer.ggml.token_type_count": 2,
        "tokenizer.ggml.bos_token_id": CLS,
        "tokenizer.ggml.eos_token_id": SEP,
        "tokenizer.ggml.cls_token_id": CLS,
        "tokenizer.ggml.seperator_token_id": SEP,
        "tokenizer.ggml.mask_token_id": MASK,
        "tokenizer.ggml.padding_token_id": PAD,
        "tokenizer.ggml.unknown_token_id": UNK,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_eos_token": True,
    }


def tensor(name: str, values: np.ndarray, matrices: str) -> TensorSource:
    """A matrix of the layers or the tokens in the given format, all else in F32."""
    plain = values.ndim == 1 or name.startswith(("position", "token_types"))
    qtype = QTYPES["F32" if plain else matrices]
    assert qtype.quantize is not None
    return name, qtype, values.shape, qtype.quantize(values.reshape(-1, qtype.block_size))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the folder that train.py filled")
    parser.add_argument("out", type=Path, help="the GGUF file")
    parser.add_argument("--qtype", choices=FILE_TYPES, default="Q8_0", help="of the matrices")
    args = parser.parse_args()
    saved = torch.load(args.folder / "model.pt", map_location="cpu")
    config, weights = Config(**saved["config"]), saved["model"]
    about = "Finds what Python's standard library has for a question"
    size = f"{sum(w.numel() for w in weights.values()) / 1e6:.1f}M"
    metadata = general_metadata("bert", "embed", about, size, args.qtype)
    metadata |= bert_metadata(config)
    metadata |= tokenizer_metadata(json.loads((args.folder / "vocab.json").read_text()))
    write_gguf(args.out, metadata, [tensor(n, w.numpy(), args.qtype) for n, w in weights.items()])
    print(f"{args.out}: {args.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
