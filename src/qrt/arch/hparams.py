"""The hyperparameters that every attention decoder has, checked one by one and together."""

from __future__ import annotations

from dataclasses import dataclass

from qrt.arch.source import Source


@dataclass(frozen=True, slots=True)
class Hparams:
    """Sizes of a decoder; `head_dim` is that of queries, keys and values alike."""

    n_vocab: int
    n_ctx_train: int
    n_layers: int
    dim: int
    ffn_dim: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    eps: float


def read_hparams(source: Source) -> Hparams:
    """Reads and checks them. Raises ArchError naming the key that is wrong."""
    dim = source.count("embedding_length")
    n_heads = source.count("attention.head_count")
    n_kv_heads = source.count("attention.head_count_kv", n_heads)
    if n_heads % n_kv_heads:
        key = source.key("attention.head_count_kv")
        raise source.wrong(key, f"a divisor of the {n_heads} query heads", n_kv_heads)
    head_dim = source.count("attention.key_length", dim // n_heads)
    value_dim = source.count("attention.value_length", dim // n_heads)
    if value_dim != head_dim:
        key = source.key("attention.value_length")
        raise source.wrong(key, f"the key length, {head_dim}", value_dim)
    return Hparams(
        n_vocab=source.n_vocab(),
        n_ctx_train=source.count("context_length"),
        n_layers=source.count("block_count"),
        dim=dim,
        ffn_dim=source.count("feed_forward_length"),
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        head_dim=head_dim,
        eps=source.real("attention.layer_norm_rms_epsilon"),
    )
