"""`load` and `load_tokenizer`: from a path to something to work with."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Never

from qrt import text
from qrt.api.core import Core
from qrt.api.model import Model
from qrt.config import embedded_model
from qrt.errors import InputError, ModelError
from qrt.formats.gguf import open_gguf
from qrt.progress import Progress, no_progress
from qrt.runtime import loader
from qrt.runtime.checks import check_int, shown
from qrt.runtime.foreign import INSTEAD_LOADING, OF_LOADING, unknown_option
from qrt.runtime.lora import LoraLike, asked_for
from qrt.runtime.rng import MAX_SEED
from qrt.text.templates import template_source

if TYPE_CHECKING:
    from qrt.text import Tokenizer


def load(
    path: str | os.PathLike[str] | None = None,
    *,
    n_ctx: int | None = None,
    n_threads: int | None = None,
    n_threads_batch: int | None = None,
    seed: int | None = None,
    kv_type: str = "f16",
    kv_bytes: int | None = None,
    prefix_dir: str | os.PathLike[str] | None = None,
    prefix_dir_bytes: int = loader.DEFAULT_DIR_BYTES,
    backend: str = "auto",
    layers: Mapping[str, str] | None = None,
    embedding: bool | None = None,
    pooling: str | None = None,
    pack: bool | None = None,
    latency: str = "balanced",
    max_running: int = 64,
    max_waiting: int = 256,
    stuck_s: float = 60.0,
    lora: LoraLike = (),
    chat_template: str | None = None,
    progress: Progress | None = None,
    **foreign: Never,
) -> Model:
    """Loads a GGUF file, ready to run; without a path, the small model inside this package.

    path: of a file, or a string that `qrt list` shows as a model's name, as "llama3.2:1b" or
    "hf:REPO/FILE"; nothing is downloaded.
    n_ctx: tokens of prompt and answer together; None: what the model was trained for, at most 4096.
    n_threads: None: QRT_THREADS, what `qrt tune` measured, or one per CPU this process may use.
    n_threads_batch: those that read prompts, where they are to be others; None: the same.
    seed: the seed of every generation that names none; None: a fresh one each.
    kv_type: the type of stored keys and values: "f16", "f32", "q8_0" or "q4_0"; two of them, as
    in "q8_0,q4_0", for keys and values apart.
    kv_bytes: memory for keys, values and states beside those of one whole context: of generations
    that run at the same time, and of earlier ones, for prompts that begin alike; None: 15 contexts,
    at most a quarter of the memory that is free.
    prefix_dir: a directory of your own where keys, values and states of prompts are kept for other
    processes and later starts, at most `prefix_dir_bytes` of them; None: they end with the model.
    backend: "auto", "cpu" or "reference" (NumPy, slow, for comparison).
    layers: the backend of some layers, as {"0-3": "reference"}; the others run on `backend`.
    embedding: True: a language model is to make vectors of texts, for `Model.embed`, in place of
    answers; a model that was made for that needs no word of it. False: that one is to answer.
    pooling: what vectors are made of where a call says nothing: "mean", "cls", "last" or "none";
    None: as the file says.
    pack: whether packed weights are kept on disk, as `qrt pack` does, and read from there: True
    for a model larger than memory. None: as QRT_PACK_CACHE says, else if they are kept already.
    latency: how much of a prompt is computed in a step that other generations wait for: "low",
    "balanced", or "throughput", which computes the most tokens a second.
    max_running: generations that are computed together; max_waiting: those that may wait to be,
    before FullError is raised.
    stuck_s: seconds after which a step is logged with what all threads do, and a function of a
    caller's in it, such as a logits processor, is ended with DeadlineError; event loops alone have
    the thread that sees to it.
    lora: GGUF files of low-rank adapters, each a path, or a pair of a path and how much of it is
    used where a generation does not say (1 else); names as for `path`.
    chat_template: Jinja, or a name as "chatml" or "llama3", in place of the file's own template.
    progress: called as progress(what, done, total) while kernels compile and weights are packed;
    None: nothing is called.

    Raises InputError for an argument, MissingModelError for a name whose file is not on this
    machine, GGUFError or ArchError for the file, BackendError if this machine cannot run it. An
    unusable vocabulary raises VocabError when text is first needed.
    """
    for name in foreign:
        known = inspect.signature(load).parameters
        raise unknown_option(name, known.keys() - {"foreign"}, OF_LOADING, INSTEAD_LOADING)
    if seed is not None:
        check_int("seed", seed, 0, MAX_SEED)
    if progress is None:
        progress = no_progress
    elif not callable(progress):
        raise InputError(f"progress must be a function or None, got {shown(progress)}")
    source = None if chat_template is None else template_source(chat_template)
    options = loader.LoadOptions(
        n_ctx=n_ctx,
        n_threads=n_threads,
        n_threads_batch=n_threads_batch,
        kv_type=kv_type,
        kv_bytes=kv_bytes,
        prefix_dir=prefix_dir,
        prefix_dir_bytes=prefix_dir_bytes,
        backend=backend,
        layers=layers,
        embedding=embedding,
        pooling=pooling,
        pack=pack,
        latency=latency,
        max_running=max_running,
        max_waiting=max_waiting,
        stuck_s=stuck_s,
        lora=tuple((os.fspath(_checked(file)), scale) for file, scale in asked_for(lora)),
    )
    if path is not None:
        return Model(Core(loader.load(_checked(path), options, progress), seed, source))
    embedded = embedded_model()
    if not embedded.is_file():
        raise ModelError(
            "the model embedded in qrt is missing from this installation; "
            "give the path of a GGUF file"
        )
    with resources.as_file(embedded) as unpacked:
        return Model(Core(loader.load(unpacked, options, progress), seed, source))


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer of a GGUF file, which may hold a vocabulary and nothing else.

    path: as for `load`. Raises ModelError, GGUFError or VocabError.
    """
    where = _checked(path)
    with open_gguf(where) as file:
        return text.load_tokenizer(file.metadata, str(where))


def _checked(path: str | os.PathLike[str]) -> str | os.PathLike[str]:
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"path must be a string or a path, got {shown(path)}")
    if not isinstance(path, str) or os.path.exists(path):
        return path
    from qrt.hub.locate import locate

    return locate(path) or path
