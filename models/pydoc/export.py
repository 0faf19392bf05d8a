"""Write the trained model as a GGUF file: llama architecture, SPM vocabulary."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from data import CHAT_TEMPLATE
from model import Config

from qrt.formats.quants import QTYPES
from qrt.formats.writer import TensorSource, write_gguf

sys.path.append(str(Path(__file__).parent.parent))
from about import FILE_TYPES, general_metadata

NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6


def llama_metadata(config: Config) -> dict[str, object]:
    """The dimensions under the names of the llama architecture."""
    return {
        "llama.vocab_size": config.n_vocab,
        "llama.context_length": config.n_ctx,
        "llama.embedding_length": config.dim,
        "llama.block_count": config.n_layers,
        "llama.feed_forward_length": config.ffn_dim,
        "llama.attention.head_count": config.n_heads,
        "llama.attention.head_count_kv": config.n_kv_heads,
        "llama.attention.layer_norm_rms_epsilon": config.norm_eps,
        "llama.rope.dimension_count": config.head_dim,
        "llama.rope.freq_base": config.rope_theta,
    }


def tokenizer_metadata(processor: sentencepiece.SentencePieceProcessor) -> dict[str, object]:
    """The sentencepiece vocabulary under the names of the `llama` tokenizer."""
    ids = range(processor.vocab_size())
    kinds = [
        BYTE
        if processor.is_byte(i)
        else CONTROL
        if processor.is_control(i)
        else UNKNOWN
        if processor.is_unknown(i)
        else NORMAL
        for i in ids
    ]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": [processor.id_to_piece(i) for i in ids],
        "tokenizer.ggml.scores": np.array([processor.get_score(i) for i in ids], np.float32),
        "tokenizer.ggml.token_type": np.array(kinds, np.int32),
        "tokenizer.ggml.bos_token_id": processor.bos_id(),
        "tokenizer.ggml.eos_token_id": processor.eos_id(),
        "tokenizer.ggml.unknown_token_id": processor.unk_id(),
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_eos_token": False,
        "tokenizer.ggml.add_space_prefix": False,
        "tokenizer.chat_template": CHAT_TEMPLATE,
    }


def tensor(name: str, values: np.ndarray, matrices: str) -> TensorSource:
    """A matrix in the given format, a vector in F32."""
    qtype = QTYPES["F32" if values.ndim == 1 else matrices]
    assert qtype.quantize is not None
    data = qtype.quantize(values.reshape(-1, qtype.block_size))
    return name.replace(".attention.", "."), qtype, values.shape, data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the folder that data.py and train.py filled")
    parser.add_argument("out", type=Path, help="the GGUF file")
    parser.add_argument("--qtype", choices=FILE_TYPES, default="Q8_0", help="of the matrices")
    args = parser.parse_args()
    processor = sentencepiece.SentencePieceProcessor(model_file=str(args.folder / "vocab.model"))
    weights = torch.load(args.folder / "checkpoint.pt", map_location="cpu")["model"]
    about = "Answers questions about Python's standard library by name"
    metadata = general_metadata("llama", "pydoc", about, "11M", args.qtype)
    metadata |= llama_metadata(Config())
    metadata |= tokenizer_metadata(processor)
    tensors = [tensor(name, weight.numpy(), args.qtype) for name, weight in weights.items()]
    write_gguf(args.out, metadata, tensors)
    print(f"{args.out}: {args.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
