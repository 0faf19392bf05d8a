"""Makes tests/data/heads.npz: what llama.cpp and the heads of transformers make of tiny models.

    python tests/make_head_oracles.py --peer-python PYTHON

It needs the extra `oracle`, and PYTHON an interpreter with llama-cpp-python. llama.cpp runs the
whole model; the heads of transformers read the stored hidden states of `make_arch_oracles.py`. It
prints how far the two are apart.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from make_arch_oracles import nmse
from numpy.typing import NDArray
from oracles import TESTS
from tiny_heads import HEADED, headed_metadata, headed_tensors
from tiny_parts import DIM, TOKENS

from qrt.formats.writer import write_gguf

Array = NDArray[np.float32]
Tensors = Mapping[str, Array]
PEER = """
import sys, numpy as np, llama_cpp
path, target, tokens = sys.argv[1], sys.argv[2], [int(t) for t in sys.argv[3].split(",")]
options = {"n_ctx": 256, "n_threads": 1, "n_threads_batch": 1, "flash_attn": False}
f32 = llama_cpp.GGML_TYPE_F32
model = llama_cpp.Llama(path, **options, type_k=f32, type_v=f32, embedding=True, verbose=False)
model._batch.reset()
model._batch.add_sequence(tokens, 0, True)
model._ctx.decode(model._batch)
found = llama_cpp.llama_get_embeddings_seq(model._ctx.ctx, 0)
np.save(target, np.array(found[: int(sys.argv[4])], np.float32))
"""


def peer(python: str, name: str) -> Array:
    """What llama.cpp makes of the tokens, (n_out,)."""
    tensors = headed_tensors(name)
    found = [(t.name, t.qtype, tuple(t.shape), t.source) for t in tensors.values()]
    with tempfile.TemporaryDirectory() as folder:
        path, target = Path(folder) / "tiny.gguf", Path(folder) / "found.npy"
        write_gguf(path, headed_metadata(name), found)
        tokens, n_out = ",".join(map(str, TOKENS)), list(HEADED[name].shapes.values())[-1][0]
        command = [python, "-c", PEER, str(path), str(target), tokens, str(n_out)]
        subprocess.run(command, check=True)
        return np.load(target)


def roberta(hidden: Array, tensors: Tensors, _: str) -> Array:
    """bge-reranker: the first token through two layers."""
    from transformers import XLMRobertaConfig
    from transformers.models.xlm_roberta import modeling_xlm_roberta as module

    head = module.XLMRobertaClassificationHead(XLMRobertaConfig(hidden_size=DIM, num_labels=1))
    names = {"dense": "cls", "out_proj": "cls.output"}
    return run(head, {a: tensors.get(b) for a, b in both(names)}, hidden)


def modern(hidden: Array, tensors: Tensors, name: str) -> Array:
    """ModernBERT: the mean or the first token through its head."""
    import torch
    from transformers import ModernBertConfig
    from transformers.models.modernbert import modeling_modernbert as module

    head = module.ModernBertPredictionHead(ModernBertConfig(hidden_size=DIM))
    whole = torch.nn.Sequential(head, torch.nn.Linear(DIM, 1))
    names = {"0.dense": "cls", "0.norm": "cls.norm", "1": "cls.output"}
    pooled = hidden[:, 0] if name.endswith("@first") else hidden.mean(axis=1)
    return run(whole, {a: tensors.get(b) for a, b in both(names)}, pooled)


def probabilities(hidden: Array, tensors: Tensors, _: str) -> Array:
    """Qwen3-Reranker: how likely each label is behind the last token."""
    import torch

    scores = torch.from_numpy(hidden[:, -1]) @ torch.from_numpy(tensors["cls.output.weight"]).T
    return torch.softmax(scores, dim=-1).numpy()


def linear(hidden: Array, tensors: Tensors, _: str) -> Array:
    """The layers that sentence-transformers puts behind the mean."""
    import torch

    rows = hidden.mean(axis=1)
    for layer in ("dense_2", "dense_3"):
        weight = tensors[f"{layer}.weight"]
        module = torch.nn.Linear(*weight.shape[::-1], bias=False)
        rows = run(module, {"weight": weight}, rows)
    return rows


HEADS: dict[str, Callable[[Array, Tensors, str], Array]] = {
    "bert": roberta,
    "neo-bert": roberta,
    "modern-bert": modern,
    "modern-bert@first": modern,
    "qwen3": probabilities,
    "gemma-embedding": linear,
}


def both(names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Names of modules with their weights and biases."""
    return [(f"{a}.{end}", f"{b}.{end}") for a, b in names.items() for end in ("weight", "bias")]


def run(module: object, values: Mapping[str, Array | None], rows: Array) -> Array:
    """What a torch module with these values makes of rows."""
    import torch

    given = {name: torch.from_numpy(v) for name, v in values.items() if v is not None}
    module.load_state_dict(given)  # type: ignore[attr-defined]
    with torch.no_grad():
        return module.eval()(torch.from_numpy(rows)).numpy()  # type: ignore[attr-defined]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer-python", default=sys.executable)
    python, found = parser.parse_args().peer_python, {}
    for name, headed in HEADED.items():
        found[f"{name}/llama.cpp"] = theirs = peer(python, name)
        if (head := HEADS.get(name)) is not None:
            hidden = np.load(TESTS / "data/tiny" / f"{headed.model}.npz")["logits"]
            tensors = {key: t.dequantize() for key, t in headed_tensors(name).items()}
            own = head(hidden[None], tensors, name)[0]
            found[f"{name}/transformers"] = own
            print(f"{name}: {own[:3]}, llama.cpp's NMSE {nmse(theirs, own):.2g}")
        else:
            print(f"{name}: llama.cpp {theirs[:3]}")
    np.savez_compressed(TESTS / "data/heads.npz", **found)


if __name__ == "__main__":
    main()
