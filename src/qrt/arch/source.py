"""What an architecture may read from a file: typed, bounded hyperparameters and tensors."""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from qrt.errors import ArchError
from qrt.formats.qtensor import QTensor
from qrt.formats.qtype import QType
from qrt.formats.quants import WEIGHT_TYPES
from qrt.formats.quants.bf16 import BF16
from qrt.formats.quants.f16 import F16
from qrt.formats.quants.f32 import F32

COUNTS: dict[str, tuple[int, int]] = {
    "altup.active_idx": (0, 63),
    "altup.num_inputs": (2, 64),
    "attention.decay_lora_rank": (1, 1 << 16),
    "attention.gate_lora_rank": (0, 1 << 16),
    "attention.head_count": (0, 4096),
    "attention.head_count_kv": (0, 4096),
    "attention.iclr_lora_rank": (1, 1 << 16),
    "attention.key_length": (1, 4096),
    "attention.key_length_mla": (0, 4096),
    "attention.key_length_swa": (1, 4096),
    "attention.kv_lora_rank": (1, 4096),
    "attention.q_lora_rank": (0, 1 << 16),
    "attention.relative_buckets_count": (4, 256),
    "attention.shared_kv_layers": (0, 512),
    "attention.sliding_window": (0, 1 << 28),
    "attention.sliding_window_pattern": (0, 512),
    "attention.value_length": (1, 4096),
    "attention.temperature_length": (1, 1 << 28),
    "attention.value_length_mla": (0, 4096),
    "attention.value_length_swa": (1, 4096),
    "attention.value_residual_mix_lora_rank": (1, 1 << 16),
    "block_count": (1, 512),
    "classifier.pooling_type": (0, 4),
    "context_length": (1, 1 << 28),
    "decoder_block_count": (1, 512),
    "decoder_start_token_id": (0, 1 << 24),
    "dense_2_feat_in": (1, 1 << 18),
    "dense_2_feat_out": (1, 1 << 18),
    "dense_3_feat_in": (1, 1 << 18),
    "dense_3_feat_out": (1, 1 << 18),
    "embedding_length": (1, 1 << 18),
    "embedding_length_out": (1, 1 << 18),
    "embedding_length_per_layer_input": (0, 1 << 18),
    "expert_count": (0, 1024),
    "expert_feed_forward_length": (0, 1 << 20),
    "expert_gating_func": (0, 4),
    "expert_group_count": (0, 1024),
    "expert_group_used_count": (0, 1024),
    "expert_shared_count": (0, 64),
    "expert_shared_feed_forward_length": (0, 1 << 20),
    "expert_used_count": (0, 1024),
    "feed_forward_length": (0, 1 << 20),
    "full_attention_interval": (1, 512),
    "interleave_moe_layer_step": (1, 512),
    "kda.head_dim": (1, 1024),
    "leading_dense_block_count": (0, 512),
    "moe_every_n_layers": (2, 512),
    "moe_latent_size": (0, 1 << 18),
    "nextn_predict_layers": (0, 512),
    "pooling_type": (0, 4),
    "rescale_every_n_layers": (0, 512),
    "rope.dimension_count": (2, 4096),
    "rope.dimension_count_swa": (2, 4096),
    "rope.dimension_sections": (0, 4096),
    "rope.scaling.original_context_length": (1, 1 << 28),
    "shortconv.l_cache": (2, 16),
    "ssm.conv_kernel": (2, 16),
    "ssm.group_count": (0, 4096),
    "ssm.inner_size": (1, 1 << 20),
    "ssm.state_size": (1, 4096),
    "ssm.time_step_rank": (1, 1 << 18),
    "time_decay_extra_dim": (1, 1 << 16),
    "time_mix_extra_dim": (1, 1 << 16),
    "token_shift_count": (1, 2),
    "tokenizer.ggml.token_type_count": (1, 1 << 16),
    "vocab_size": (1, 1 << 24),
    "wkv.head_size": (1, 4096),
}
"""Whole-number hyperparameters and their least and greatest value."""

REALS: dict[str, tuple[float, float]] = {
    "activation_sparsity_scale": (-math.inf, 1e3),
    "attention.clamp_kqv": (1e-3, 1e6),
    "attention.layer_norm_epsilon": (1e-15, 1.0),
    "attention.layer_norm_rms_epsilon": (1e-12, 1.0),
    "attention.max_alibi_bias": (1e-3, 64.0),
    "attention.scale": (1e-6, 1e3),
    "attention.temperature_scale": (0.0, 1e3),
    "attn_logit_softcapping": (1e-3, 1e6),
    "embedding_scale": (1e-6, 1e6),
    "expert_weights_scale": (1e-6, 1e3),
    "final_logit_softcapping": (1e-3, 1e6),
    "logit_scale": (1e-6, 1e6),
    "residual_scale": (1e-6, 1e6),
    "rope.freq_base": (1.5, 1e15),
    "rope.freq_base_swa": (1.5, 1e15),
    "rope.scale_linear": (1e-3, 1e6),
    "rope.scaling.alpha": (0.0, 1e6),
    "rope.scaling.attn_factor": (1e-3, 1e3),
    "rope.scaling.factor": (1e-3, 1e6),
    "rope.scaling.yarn_attn_factor": (1e-3, 1e3),
    "rope.scaling.yarn_beta_fast": (1e-3, 1e6),
    "rope.scaling.yarn_beta_slow": (1e-3, 1e6),
    "rope.scaling.yarn_ext_factor": (-1.0, 1.0),
    "rope.scaling.yarn_log_multiplier": (0.0, 10.0),
    "router_jitter_noise": (0.0, 0.5),
    "xielu.alpha_n": (-1e3, 1e3),
    "xielu.alpha_p": (-1e3, 1e3),
    "xielu.beta": (-1e3, 1e3),
    "xielu.eps": (-1.0, 0.0),
}
"""Real hyperparameters and their least and greatest value. NaN and infinities are outside, but for
the -inf of layers without sparsity."""

VECTOR_TYPES: tuple[QType, ...] = (F32, F16, BF16)
"""Formats a one-dimensional weight may be in."""


@dataclass(frozen=True)
class Source:
    """A file as seen by one architecture. Keys are without the architecture's prefix."""

    arch: str
    metadata: Mapping[str, object]
    tensors: Mapping[str, QTensor]
    where: str
    n_ctx: int | None = None
    """Positions that a sequence will have; None: as many as the model was trained for."""

    def count(self, key: str, default: int | None = None) -> int:
        """A whole number within COUNTS[key]. Raises ArchError when absent without a default."""
        lo, hi = COUNTS[key]
        value = self._read(key, default)
        if type(value) is not int or not lo <= value <= hi:
            raise self.wrong(self.key(key), f"a whole number from {lo} to {hi}", value)
        return value

    def counts(
        self, key: str, n_layers: int, default: tuple[int, ...] | None = None
    ) -> tuple[int, ...]:
        """A whole number within COUNTS[key] for each layer: one for all, or an array of them.

        Raises ArchError when absent without a default.
        """
        lo, hi = COUNTS[key]
        value = self._read(key, default)
        if type(value) is int:
            value = (value,) * n_layers
        numbers = _numbers(value)
        if numbers is None or len(numbers) != n_layers or not all(lo <= n <= hi for n in numbers):
            expected = f"a whole number from {lo} to {hi}, or one for each of {n_layers} layers"
            raise self.wrong(self.key(key), expected, numbers or value)
        return numbers

    def has(self, key: str) -> bool:
        """Whether the file has it."""
        return self._read(key, None) is not None

    def strings(self, key: str) -> tuple[str, ...]:
        """An array of strings; none where the file has no such key. Raises ArchError."""
        value = self._read(key, ())
        found = tuple(value) if isinstance(value, list | tuple) else None
        if found is None or not all(isinstance(item, str) for item in found):
            raise self.wrong(self.key(key), "an array of strings", value)
        return found

    def is_list(self, key: str) -> bool:
        """Whether the file has an array for it."""
        return isinstance(self._read(key, None), np.ndarray | list | tuple)

    def flags(self, key: str, n_layers: int) -> tuple[bool, ...]:
        """Yes or no for each layer, as booleans or as 0 and 1. Raises ArchError.

        Files may leave out the layers that predict tokens further ahead.
        """
        value = self._read(key, None)
        found: object = value.tolist() if isinstance(value, np.ndarray) else value
        items = found if isinstance(found, list | tuple) else ()
        n_left_out = n_layers - len(items)
        may_be = n_left_out in (0, self.count("nextn_predict_layers", 0))
        if may_be and all(item in (0, 1) for item in items):
            return tuple(map(bool, items)) + (False,) * n_left_out
        expected = f"true or false for each of {n_layers} layers"
        raise self.wrong(self.key(key), expected, value)

    def real(self, key: str, default: float | None = None, zero: float | None = None) -> float:
        """A float within REALS[key]; `zero` where the file has 0, if that stands for something.

        Raises ArchError when absent without a default.
        """
        lo, hi = REALS[key]
        value = self._read(key, default)
        if zero is not None and type(value) is float and value == 0.0:
            return zero
        if type(value) is not float or not lo <= value <= hi:
            raise self.wrong(self.key(key), f"a number from {lo:g} to {hi:g}", value)
        return value

    def reals(self, key: str, n_layers: int) -> tuple[float, ...]:
        """A float within REALS[key] for each layer: one for all, or an array. Raises ArchError."""
        lo, hi = REALS[key]
        value = self._read(key, None)
        found = value.tolist() if isinstance(value, np.ndarray) else value
        if not isinstance(found, list | tuple):
            found = [found] * n_layers
        right = all(type(item) is float and lo <= item <= hi for item in found)
        if not right or len(found) != n_layers:
            expected = f"a number from {lo:g} to {hi:g}, or one for each of {n_layers} layers"
            raise self.wrong(self.key(key), expected, value)
        return tuple(found)

    def flag(self, key: str, default: bool | None = None) -> bool:
        """Yes or no. Raises ArchError when absent without a default."""
        value = self._read(key, default)
        if type(value) is not bool:
            raise self.wrong(self.key(key), "true or false", value)
        return value

    def choice(self, key: str, options: tuple[str, ...], default: str) -> str:
        """One of `options`. Raises ArchError."""
        value = self._read(key, default)
        if not isinstance(value, str) or value not in options:
            raise self.wrong(self.key(key), f"one of {', '.join(options)}", value)
        return value

    def vector(self, name: str, length: int) -> NDArray[np.float64]:
        """The values of a one-dimensional tensor, (length,). Raises ArchError."""
        self.check_tensor(name, (length,))
        return self.tensors[name].dequantize().astype(np.float64)

    def n_vocab(self) -> int:
        """Rows of the embedding, one for each token of the vocabulary. Raises ArchError."""
        name = "token_embd.weight"
        if name not in self.tensors:
            raise ArchError(f"{self.where}: tensor {name!r} is missing")
        shape = self.tensors[name].shape
        if len(shape) != 2:
            raise self.wrong(f"tensor {name!r}", "two dimensions", shape)
        rows = shape[0]
        tokens = self.metadata.get("tokenizer.ggml.tokens")
        if tokens is None:
            n_tokens = self.count("vocab_size")
        elif isinstance(tokens, Sized) and not isinstance(tokens, str):
            n_tokens = len(tokens)
        else:
            raise self.wrong("key 'tokenizer.ggml.tokens'", "a list of tokens", tokens)
        if rows != n_tokens:
            expected = f"as many rows as the vocabulary has tokens, {n_tokens}"
            raise self.wrong(f"tensor {name!r}", expected, rows)
        return rows

    def check_tensor(self, name: str, shape: tuple[int, ...]) -> None:
        """Raises ArchError unless the tensor is there, in this shape and a fit format.

        Files may have dimensions of 1 before the last, and behind that of a vector.
        """
        if name not in self.tensors:
            raise ArchError(f"{self.where}: tensor {name!r} is missing; expected shape {shape}")
        tensor = self.tensors[name]
        is_vector = len(shape) == 1
        if _without_ones(tensor.shape, is_vector) != _without_ones(shape, is_vector):
            raise self.wrong(f"tensor {name!r}", f"shape {shape}", tuple(tensor.shape))
        fit = VECTOR_TYPES if is_vector else WEIGHT_TYPES
        if tensor.qtype not in fit:
            expected = f"one of {', '.join(qtype.name for qtype in fit)}"
            raise self.wrong(f"tensor {name!r}", expected, tensor.qtype.name)

    @cached_property
    def stems(self) -> frozenset[str]:
        """Names of the tensors, `blk.N.` taken off."""
        return frozenset(place(name)[1] for name in self.tensors)

    def key(self, key: str) -> str:
        """The key as it stands in the file, for a message."""
        return f"key {full_key(self.arch, key)!r}"

    def wrong(self, what: str, expected: str, got: object) -> ArchError:
        """An error in one line: file, what, expected, got."""
        if got is None:
            shown = "nothing"
        elif isinstance(got, str | int | float | tuple):
            shown = reprlib.repr(got)
        else:
            shown = f"a value of type {type(got).__name__}"
        return ArchError(f"{self.where}: {what}: expected {expected}, got {shown}")

    def _read(self, key: str, default: object) -> object:
        return self.metadata.get(full_key(self.arch, key), default)


def full_key(arch: str, key: str) -> str:
    """A key as it stands in a file: with the architecture before it, but for those of xIELU and of
    tokenizers.
    """
    return key if key.startswith(("xielu.", "tokenizer.")) else f"{arch}.{key}"


def place(name: str) -> tuple[int | None, str]:
    """The block that a tensor is of, None for none, and its name without `blk.N.`"""
    found = re.match(r"blk\.(\d{1,9})\.", name)
    return (None, name) if found is None else (int(found[1]), name[found.end() :])


def _without_ones(shape: tuple[int, ...], is_vector: bool) -> tuple[int, ...]:
    """The shape without dimensions of 1 before its last; of a vector without any."""
    if is_vector:
        return tuple(n for n in shape if n != 1)
    return (*(n for n in shape[:-1] if n != 1), *shape[-1:])


def _numbers(value: object) -> tuple[int, ...] | None:
    """The whole numbers of a tuple or an array; None where it holds others."""
    if isinstance(value, np.ndarray):
        value = tuple(value.tolist())
    if isinstance(value, Sequence) and all(type(number) is int for number in value):
        return tuple(value)
    return None
