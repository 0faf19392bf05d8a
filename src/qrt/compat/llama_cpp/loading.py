"""Arguments of llama-cpp-python's `Llama` and `from_pretrained`: which mean something here."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

from qrt.errors import InputError
from qrt.formats.gguf import open_gguf
from qrt.runtime.foreign import unknown_option
from qrt.text.templates import template_source

HARMLESS = frozenset(
    (
        *("n_gpu_layers", "split_mode", "main_gpu", "tensor_split", "offload_kqv", "op_offload"),
        *("use_mmap", "use_mlock", "numa", "n_batch", "n_ubatch", "n_threads_batch", "flash_attn"),
        *("logits_all", "attention_type", "swa_full", "no_perf"),
        *("verbose", "f16_kv", "low_vram", "mul_mat_q", "n_parts", "n_gqa", "rms_norm_eps"),
    )
)
"""What qrt decides itself, or is so always."""

NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "vocab_only": (False,),
    "kv_overrides": (None, {}),
    "rope_scaling_type": (-1,),
    "rope_freq_base": (0.0, None),
    "rope_freq_scale": (0.0, 1.0, None),
    "yarn_ext_factor": (-1.0,),
    "yarn_attn_factor": (1.0,),
    "yarn_beta_fast": (32.0,),
    "yarn_beta_slow": (1.0,),
    "yarn_orig_ctx": (0,),
    "lora_base": (None,),
    "chat_handler": (None,),
    "draft_model": (None,),
    "tokenizer": (None,),
}
"""What qrt lacks, and the values that ask for nothing."""

_CACHE_TYPES = {None: "f16", 0: "f32", 1: "f16", 2: "q4_0", 8: "q8_0"}
"""GGML's numbers of the types that keys and values may have."""


def check_others(others: Mapping[str, object]) -> None:
    """Raises InputError for an argument that asks for what qrt lacks, or that nobody knows."""
    for name, value in others.items():
        if name in NEUTRAL:
            if not any(value == neutral for neutral in NEUTRAL[name]):
                raise InputError(f"{name}: qrt does not do that; leave it out")
        elif name not in HARMLESS:
            raise unknown_option(name, HARMLESS | NEUTRAL.keys(), {}, {})


def kv_type(type_k: int | None, type_v: int | None) -> str:
    """The type of stored keys and values. Raises InputError for one that qrt lacks."""
    for name, number in (("type_k", type_k), ("type_v", type_v)):
        if number not in _CACHE_TYPES:
            raise InputError(f"{name} must be 0 (F32), 1 (F16), 2 (Q4_0) or 8 (Q8_0), got {number}")
    return f"{_CACHE_TYPES[type_k]},{_CACHE_TYPES[type_v]}"


def chat_template(chat_format: str | None) -> str | None:
    """The template that a name of llama-cpp-python's means; None: the file's own."""
    if chat_format is None or chat_format.startswith("chat_template"):
        return None
    try:
        return template_source(chat_format)
    except InputError:
        message = "chat_format %r is not known, the file's own template is used"
        logging.getLogger("qrt").warning(message, chat_format)
        return None


def context(path: str, n_ctx: int) -> int:
    """The context to load with: what was asked for, at most what the model was trained for.

    0 asks for that. Raises GGUFError.
    """
    with open_gguf(path) as file:
        arch = file.metadata.get("general.architecture")
        trained = file.metadata.get(f"{arch}.context_length")
    if not isinstance(trained, int):
        return n_ctx
    if n_ctx > trained:
        message = "%s: n_ctx is %d, the model was trained for %d, which is used"
        logging.getLogger("qrt").warning(message, path, n_ctx, trained)
    return min(n_ctx or trained, trained)


def fetched(repo: str, pattern: str | None) -> Path:
    """The file of a repository whose name fits a pattern: the one that is here, else from the hub.

    Raises ValueError where not exactly one fits, and what downloading raises.
    """
    from qrt.hub.download import fetch, list_models
    from qrt.hub.names import is_repo
    from qrt.hub.places import cached_models
    from qrt.progress import no_progress

    if not is_repo(repo):
        raise InputError(f"repo_id must be OWNER/NAME, got {repo!r}")
    here = [
        path for model, path in cached_models(repo).items() if fnmatch(model.name, pattern or "*")
    ]
    if len(here) == 1:
        return here[0]
    models = list_models(repo).models
    found = [model for model in models if fnmatch(model.name, pattern or "*")]
    if len(found) != 1:
        names = ", ".join(model.name for model in found or models)
        problem = "several files match" if found else "no file matches"
        raise ValueError(f"{repo}: {problem} {pattern!r} of {names}; give the name of one")
    return fetch(repo, found[0].files, no_progress)
