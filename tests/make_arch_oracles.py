"""Makes tests/data/tiny: logits of the tiny models, or hidden states of those that have a pooling,
by transformers and by llama.cpp.

    python tests/make_arch_oracles.py --peer-python PYTHON [NAME...]

It needs the extra `oracle`, and PYTHON an interpreter with llama-cpp-python. Where `HF` has a row
for a model, its logits are those of transformers in float32, where `IN_NUMPY` has one those of its
paper in float64, and llama.cpp's NMSE to them is printed; elsewhere they are llama.cpp's, with one
thread, an F32 cache and no flash attention. It does not scale the logits of tied embeddings of T5,
nor take more blocks of a decoder than of the encoder.

A row of `HF` names the class of the configuration, what it has beyond what `hf_config` reads from
the metadata, and how the values of the file become those of transformers. Names of tensors are
those of the gguf package.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from hf_delta import DELTAS
from hf_encoders import HF_ENCODERS
from hf_mamba import MAMBA
from hf_mixtures import HF_MIXTURES, joined, mixture_name, parts_of
from hf_older import OLDER
from hf_parts import ROPE, Row
from hf_recent import RECENT
from in_numpy import IN_NUMPY
from numpy.typing import NDArray
from oracles import TESTS
from tiny_encoders import ENCODERS, ENCODERS_WITH_DECODERS, N_ENCODED
from tiny_models import MODELS, arch_of, metadata_of, tensors_of, write_tiny
from tiny_parts import DIM, TOKENS

from qrt.arch.source import place

Array = NDArray[np.float32]
PEER = """
import sys, numpy as np, llama_cpp
path, target, tokens = sys.argv[1], sys.argv[2], [int(t) for t in sys.argv[3].split(",")]
options = {"n_ctx": 256, "n_threads": 1, "n_threads_batch": 1, "flash_attn": False}
options |= {f"yarn_{key}": -1.0 for key in ("attn_factor", "beta_fast", "beta_slow")}  # not set
f32 = llama_cpp.GGML_TYPE_F32
model = llama_cpp.Llama(path, **options, type_k=f32, type_v=f32, logits_all=True, verbose=False)
model.eval(tokens)
np.save(target, np.array(model.scores[: len(tokens)], np.float32))
"""
PEER_HIDDEN = """
import sys, numpy as np, llama_cpp
path, target, tokens = sys.argv[1], sys.argv[2], [int(t) for t in sys.argv[3].split(",")]
options = {"n_ctx": 256, "n_threads": 1, "n_threads_batch": 1, "flash_attn": False}
f32, pooling = llama_cpp.GGML_TYPE_F32, llama_cpp.LLAMA_POOLING_TYPE_NONE
options |= {"type_k": f32, "type_v": f32, "embedding": True, "pooling_type": pooling}
model = llama_cpp.Llama(path, **options, verbose=False)
model._batch.reset()
model._batch.add_sequence(tokens, 0, True)
model._ctx.decode(model._batch)
rows = [llama_cpp.llama_get_embeddings_ith(model._ctx.ctx, i) for i in range(len(tokens))]
np.save(target, np.array([row[: model.n_embd()] for row in rows], np.float32))
"""

PEER_ANSWERED = """
import sys, numpy as np, llama_cpp
path, target, tokens = sys.argv[1], sys.argv[2], [int(t) for t in sys.argv[3].split(",")]
n, f32 = int(sys.argv[4]), llama_cpp.GGML_TYPE_F32
options = {"n_ctx": 256, "n_threads": 1, "n_threads_batch": 1, "flash_attn": False}
model = llama_cpp.Llama(path, **options, type_k=f32, type_v=f32, logits_all=True, verbose=False)
batch = model._batch
batch.set_batch(tokens[:n], 0, True)
assert llama_cpp.llama_encode(model._ctx.ctx, batch.batch) == 0
batch.set_batch(tokens[n:], 0, True)
model._ctx.decode(batch)
rows = [llama_cpp.llama_get_logits_ith(model._ctx.ctx, i) for i in range(len(tokens) - n)]
np.save(target, np.array([row[: model.n_vocab()] for row in rows], np.float32))
"""


def peer_logits(python: str, name: str) -> Array | None:
    """llama.cpp's, (n_tokens, n_vocab or dim); None where it refuses the file."""
    with tempfile.TemporaryDirectory() as folder:
        path, target = Path(folder) / "tiny.gguf", Path(folder) / "logits.npy"
        write_tiny(name, path)
        tokens = ",".join(map(str, TOKENS))
        program = PEER_HIDDEN if name in ENCODERS else PEER
        program = PEER_ANSWERED if name in ENCODERS_WITH_DECODERS else program
        command = [python, "-c", program, str(path), str(target), tokens, str(N_ENCODED)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name}: llama.cpp refuses it: {done.stderr[-2000:]}")
            return None
        return np.load(target)


HF: dict[str, Row] = {**RECENT, **OLDER, **HF_MIXTURES, **HF_ENCODERS, **DELTAS, **MAMBA}


def hf_config(name: str, row: Row) -> dict[str, object]:
    """The configuration that says what the metadata says."""
    prefix = f"{arch_of(name)}."
    keys = {k.removeprefix(prefix): v for k, v in metadata_of(name).items()}
    eps = keys.get("attention.layer_norm_rms_epsilon", keys.get("attention.layer_norm_epsilon"))
    config: dict[str, object] = {
        "vocab_size": keys["vocab_size"],
        "hidden_size": keys["embedding_length"],
        "intermediate_size": keys.get("feed_forward_length"),
        "num_hidden_layers": keys["block_count"],
        "num_attention_heads": keys["attention.head_count"],
        "num_key_value_heads": keys.get("attention.head_count_kv", keys["attention.head_count"]),
        "max_position_embeddings": keys["context_length"],
        "rms_norm_eps": eps,
        "layer_norm_eps": eps,
        "rope_parameters": ROPE,
        "tie_word_embeddings": "output.weight" not in MODELS[name].optional,
        "head_dim": keys.get("attention.key_length", 16),
        "sliding_window": keys.get("attention.sliding_window"),
        "pad_token_id": 0,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    config = {key: value for key, value in config.items() if key not in row.without}
    return {**config, **row.config}


def hf_logits(name: str, row: Row) -> Array:
    """transformers', (n_tokens, n_vocab or dim)."""
    import gguf
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(row.kind, **hf_config(name, row))
    config._attn_implementation = "eager"
    is_plain = not (row.hidden or row.headless or row.n_encoded)
    kind = "AutoModelForCausalLM" if is_plain else row.auto
    model = getattr(transformers, kind).from_config(config, dtype=torch.float32).eval()
    if row.n_encoded and "output.weight" in MODELS[name].optional:
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
    archs = {text: arch for arch, text in gguf.MODEL_ARCH_NAMES.items()}
    arch = archs.get(arch_of(name), gguf.MODEL_ARCH.LLAMA)
    n_blocks = max(config.num_hidden_layers, getattr(config, "num_decoder_layers", None) or 0)
    names = gguf.get_tensor_name_map(arch, n_blocks)
    metadata = metadata_of(name)
    tensors = {key: t.dequantize() for key, t in tensors_of(name).items()}
    left = {key for key in tensors if not key.endswith(".scale")}
    with torch.no_grad():
        for theirs, parameter in [*model.named_parameters(), *model.named_buffers()]:
            if theirs.startswith("pooler."):
                continue
            theirs = f"model.{theirs}" if row.headless else theirs
            learned = f"xielu.{theirs.rpartition('.')[2]}"
            if learned in metadata:
                number = np.broadcast_to(metadata[learned], config.num_hidden_layers)
                parameter.fill_(float(number[int(theirs.split(".")[2])]))
                continue
            if (made := row.remade(theirs, tensors, config)) is not None:
                parameter.copy_(torch.from_numpy(made[0].reshape(parameter.shape).copy()))
                left -= {*made[1]}
                continue
            ours = file_name(theirs, row, names)
            if (bare := ours.removesuffix(".weight")) in tensors:
                ours = bare
            is_buffer = not isinstance(parameter, torch.nn.Parameter)
            is_there = ours in tensors or parts_of(ours) or stack_of(ours) in tensors
            if not is_there and (is_buffer or ours == "output.weight"):
                continue
            joint = re.sub(r"attn_[qkv]\.", "attn_qkv.", ours)
            left -= {ours, joint, stack_of(ours), *parts_of(ours)}
            parts = set(parts_of(ours))
            if ours not in tensors and parts and parts <= tensors.keys():
                own = joined(ours, tensors, row.interleaved)
            else:
                own = own_value(ours, tensors, config)
            value = hf_value(ours, own, row, config)
            parameter.copy_(torch.from_numpy(value.reshape(parameter.shape).copy()))
        left -= set(MODELS[name].given)
        assert not left, f"transformers has nothing for {left}"
        text, rest = (torch.from_numpy(part)[None] for part in np.split(TOKENS, [row.n_encoded]))
        out = model(text, decoder_input_ids=rest) if row.n_encoded else model(rest)
        if row.headless:
            return (out.last_hidden_state[0] @ model.get_input_embeddings().weight.T).numpy()
        return (out.last_hidden_state if row.hidden else out.logits)[0].numpy()


def file_name(theirs: str, row: Row, names: object) -> str:
    """The name of a parameter in the file."""
    if (ours := mixture_name(theirs)) is not None:
        return ours
    for part, ours in row.renamed.items():
        theirs = theirs.replace(part, ours)
    found = names.get_name(theirs, try_suffixes=(".weight", ".bias"))  # type: ignore[attr-defined]
    if found is None:
        return theirs.replace("model.layers.", "blk.")
    return found if found.endswith((".weight", ".bias")) else f"{found}.weight"


def stack_of(name: str) -> str:
    """The tensor of the file that has matrix N in it, of a name as `altup_projections.N.weight`."""
    return re.sub(r"\.\d+\.weight$", ".weight", name)


def own_value(name: str, tensors: Mapping[str, Array], config: object) -> Array:
    """A tensor of the file, cut out of one that it is joined in and with its scale."""
    if name not in tensors and stack_of(name) in tensors:
        return tensors[stack_of(name)][int(name.split(".")[-2])]
    at, _, rest = name.rpartition("attn_")
    joined = f"{at}attn_qkv.{rest[2:]}"
    if name not in tensors and joined in tensors:
        n = config.head_dim * config.num_attention_heads  # type: ignore[attr-defined]
        n_kv = config.head_dim * config.num_key_value_heads  # type: ignore[attr-defined]
        parts = np.split(tensors[joined], [n, n + n_kv])
        return parts["qkv".index(rest[0])]
    scale = tensors.get(name.removesuffix("weight") + "scale")
    return tensors[name] if scale is None or len(scale) > 1 else tensors[name] * scale


def hf_value(name: str, value: Array, row: Row, config: object) -> Array:
    """A tensor of the file as transformers has it."""
    stem = place(name)[1].rsplit(".", 1)[0]
    if stem == "ssm_a":
        return np.log(-value)
    if row.minus_one and name.endswith("norm.weight"):
        return value - 1.0
    if row.turned and re.search(r"_exps\.weight$", name):
        return np.ascontiguousarray(value.swapaxes(1, 2))
    if row.grouped and stem == "attn_qkv":
        return grouped(value, config.num_attention_heads)  # type: ignore[attr-defined]
    if row.transposed and value.ndim == 2 and "embd" not in name and stem != "output":
        return value.T
    heads = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}
    if row.permuted and stem in heads:
        n = getattr(config, heads[stem])
        pairs = value.reshape(n, -1, 2, *value.shape[1:])
        return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(value.shape)
    return value


def grouped(value: Array, n_heads: int) -> Array:
    """Queries, keys and values of all heads, kv head by kv head."""
    heads = value.reshape(-1, DIM // n_heads, *value.shape[1:])
    n_kv = (len(heads) - n_heads) // 2
    q, k, v = np.split(heads, [n_heads, n_heads + n_kv])
    q = q.reshape(n_kv, n_heads // n_kv, *heads.shape[1:])
    return np.concatenate([q, k[:, None], v[:, None]], axis=1).reshape(value.shape)


def nmse(got: Array, expected: Array) -> float:
    wide = expected.astype(np.float64)
    return float(((got - wide) ** 2).mean() / (wide**2).mean())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--peer-python", default=sys.executable)
    options = parser.parse_args()
    for name in options.names or MODELS:
        peer = peer_logits(options.peer_python, name)
        if name in IN_NUMPY:
            tensors = {key: t.dequantize() for key, t in tensors_of(name).items()}
            logits = IN_NUMPY[name](metadata_of(name), tensors, TOKENS)
        else:
            logits = hf_logits(name, HF[name]) if name in HF else peer
        if logits is None:
            continue
        np.savez_compressed(TESTS / "data/tiny" / f"{name}.npz", logits=logits)
        by = "transformers" if name in HF else "NumPy" if name in IN_NUMPY else "llama.cpp"
        beside = "" if peer is None else f", llama.cpp's NMSE {nmse(peer, logits):.2g}"
        print(f"{name}: {by}, spread {logits.std():.3g}{beside}", flush=True)


if __name__ == "__main__":
    main()
