"""What other libraries call our options, and what to do instead where we have none."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping

from qrt.errors import UnknownOptionError
from qrt.runtime.checks import shown

_STREAM = "call stream or stream_chat, which yield records"
_CPU_ONLY = "leave it out: qrt runs on the CPU"
_OWN_CHOICE = "leave it out: qrt decides that itself, and `qrt tune` measures what is best"
_TEMPLATE = "a variable of the chat template: template_vars={{{name!r}: ...}}"

OF_GENERATING: Mapping[str, str] = {
    **dict.fromkeys(("temp", "sampling_temperature"), "temperature"),
    **dict.fromkeys(
        ("n_predict", "num_predict", "max_new_tokens", "max_completion_tokens", "max_length"),
        "max_tokens",
    ),
    **dict.fromkeys(("repetition_penalty", "penalty_repeat", "repeat_pen"), "repeat_penalty"),
    **dict.fromkeys(("penalty_last_n", "last_n_tokens_size"), "repeat_last_n"),
    "penalty_present": "presence_penalty",
    "penalty_freq": "frequency_penalty",
    **dict.fromkeys(("stop_strings", "stop_sequences", "stops"), "stop"),
    **dict.fromkeys(("stop_token_ids", "eos_token_id", "stop_ids"), "stop_tokens"),
    **dict.fromkeys(("logits_processor", "processors"), "logits_processors"),
    **dict.fromkeys(("stopping_criteria", "stopping_criterion"), "stopping"),
    **dict.fromkeys(("top_logprobs", "n_probs", "num_logprobs"), "logprobs"),
    **dict.fromkeys(("typical", "typ_p"), "typical_p"),
    **dict.fromkeys(("mirostat_mode", "mirostat_version"), "mirostat"),
    **dict.fromkeys(("random_seed", "rng_seed"), "seed"),
    **dict.fromkeys(("json_schema", "guided_json", "output_type"), "response_format"),
    **dict.fromkeys(("guided_grammar", "gbnf"), "grammar"),
    "bias": "logit_bias",
}
"""Names of options by what they are called elsewhere."""

INSTEAD_GENERATING: Mapping[str, str] = {
    **dict.fromkeys(("stream", "streaming"), _STREAM),
    "do_sample": "temperature=0 takes the likeliest token, any above it draws",
    "num_beams": "qrt has no beam search; leave it out",
    "echo": "put the prompt before the text yourself",
    "tfs_z": "leave it out: tail-free sampling is gone from llama.cpp too",
    **dict.fromkeys(("n", "num_return_sequences", "best_of"), "generate_many takes many prompts"),
    "guided_regex": 'grammar={{"regex": ...}}',
    **dict.fromkeys(("enable_thinking", "reasoning_effort"), _TEMPLATE),
}
"""What to do instead of options that we lack."""

OF_LOADING: Mapping[str, str] = {
    **dict.fromkeys(("model_path", "model", "filename", "model_file", "gguf"), "path"),
    **dict.fromkeys(
        ("num_ctx", "context_length", "max_seq_len", "max_model_len", "ctx_size"), "n_ctx"
    ),
    **dict.fromkeys(("threads", "num_threads", "num_thread", "nthreads"), "n_threads"),
    **dict.fromkeys(
        ("type_k", "type_v", "cache_type", "kv_cache_dtype", "cache_type_k"), "kv_type"
    ),
    "random_seed": "seed",
    "chat_format": "chat_template",
    **dict.fromkeys(("lora_path", "adapters", "lora_adapters"), "lora"),
    "embeddings": "embedding",
    "pooling_type": "pooling",
}
"""Parameters of `load` by what they are called elsewhere."""

INSTEAD_LOADING: Mapping[str, str] = {
    **dict.fromkeys(
        ("n_gpu_layers", "gpu_layers", "num_gpu", "main_gpu", "tensor_split", "device"), _CPU_ONLY
    ),
    **dict.fromkeys(("n_batch", "n_ubatch", "batch_size", "flash_attn"), _OWN_CHOICE),
    **dict.fromkeys(("use_mmap", "use_mlock"), "leave it out; pack=True keeps packed weights"),
    **dict.fromkeys(("logits_all", "verbose"), "leave it out: nothing has to be asked for"),
    "draft_model": "leave it out: qrt has no draft models",
}
"""What to do instead of parameters of `load` that we lack."""


def unknown_option(
    name: object, known: Collection[str], same: Mapping[str, str], instead: Mapping[str, str]
) -> UnknownOptionError:
    """The error for a keyword that is none of `known`, with what was probably meant."""
    text = name if isinstance(name, str) else ""
    near = difflib.get_close_matches(text, known, n=1)
    if text in same:
        hint = f"; it is {same[text]!r} here"
    elif text in instead:
        hint = f"; {instead[text].format(name=text)}"
    elif near:
        hint = f"; did you mean {near[0]!r}?"
    else:
        hint = ""
    return UnknownOptionError(f"unknown option {shown(name)}{hint}")
