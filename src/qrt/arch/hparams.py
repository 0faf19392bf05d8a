"""The hyperparameters that every attention decoder has, checked one by one and together."""

from __future__ import annotations

from dataclasses import dataclass

from qrt.arch.source import Source


@dataclass(frozen=True, slots=True)
class Layer:
    """Sizes of one layer. `head_dim` is that of queries, keys and values alike."""

    number: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    ffn_dim: int
    window: int | None = None
    """How many positions attention sees, the row's own among them; None: all."""
    kind: str = "attention"
    """What mixes positions."""

    @property
    def at(self) -> str:
        """How the names of its tensors begin."""
        return f"blk.{self.number}."


@dataclass(frozen=True, slots=True)
class Hparams:
    """Sizes of a decoder, and those of each of its layers."""

    n_vocab: int
    n_ctx_train: int
    dim: int
    eps: float
    layers: tuple[Layer, ...]


def read_hparams(source: Source) -> Hparams:
    """Reads and checks them; numbers of heads and feed-forward widths may differ by layer.

    Raises ArchError naming the key that is wrong.
    """
    n_layers = source.count("block_count")
    return Hparams(
        n_vocab=source.n_vocab(),
        n_ctx_train=source.count("context_length"),
        dim=source.count("embedding_length"),
        eps=source.real("attention.layer_norm_rms_epsilon"),
        layers=_read_layers(source, n_layers),
    )


def _read_layers(source: Source, n_layers: int) -> tuple[Layer, ...]:
    dim = source.count("embedding_length")
    n_heads = source.counts("attention.head_count", n_layers)
    n_kv_heads = source.counts("attention.head_count_kv", n_layers, n_heads)
    ffn_dims = source.counts("feed_forward_length", n_layers)
    for heads, kv_heads in zip(n_heads, n_kv_heads, strict=True):
        if heads % kv_heads:
            key = source.key("attention.head_count_kv")
            raise source.wrong(key, f"a divisor of the {heads} query heads", kv_heads)
    head_dim = source.count("attention.key_length", dim // n_heads[0])
    value_dim = source.count("attention.value_length", dim // n_heads[0])
    if value_dim != head_dim:
        key = source.key("attention.value_length")
        raise source.wrong(key, f"the key length, {head_dim}", value_dim)
    return tuple(
        Layer(number, heads, kv_heads, head_dim, ffn_dim)
        for number, (heads, kv_heads, ffn_dim) in enumerate(
            zip(n_heads, n_kv_heads, ffn_dims, strict=True)
        )
    )
