"""The hyperparameters that every decoder has, checked one by one and together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qrt.arch.source import Source

Kind = Literal["attention", "recurrent", "none"]
"""What mixes the positions of a layer: attention, a state of fixed size, or nothing does."""
Where = Literal["everywhere", "somewhere", "nowhere"]


@dataclass(frozen=True, slots=True)
class Layer:
    """Sizes of one layer."""

    number: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    """Width of a query and of a key."""
    value_dim: int
    ffn_dim: int
    window: int | None = None
    """How many positions attention sees, the row's own among them; None: all."""
    kind: Kind = "attention"

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
    n_blocks: int
    """Blocks in the file; those behind `layers` predict tokens further ahead and are not run."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Of each `period` layers the last sees all positions, or the first with `global_first`.

    `length` is the window of the others where a file has no `attention.sliding_window`; 0: they see
    all as well; None: a file must have it. `attention.sliding_window_pattern` has another period,
    or says of each layer whether it has a window.
    """

    period: int
    length: int | None = 0
    global_first: bool = False

    def read(self, source: Source, n_layers: int) -> tuple[int | None, ...]:
        """The window of each layer."""
        length = source.count("attention.sliding_window", self.length)
        if length == 0:
            return (None,) * n_layers
        key = "attention.sliding_window_pattern"
        if source.is_list(key):
            local = source.flags(key, n_layers)
        else:
            period = source.count(key, self.period)
            shift = 0 if self.global_first else 1
            local = tuple(period == 0 or (i + shift) % period != 0 for i in range(n_layers))
        return tuple(length if is_local else None for is_local in local)


def read_hparams(
    source: Source,
    norm_kind: str = "rms",
    windows: Windows | None = None,
    attention_is: Where = "everywhere",
) -> Hparams:
    """Reads and checks them; numbers of heads and feed-forward widths may differ by layer.

    Where attention is in some layers only, the others may have no heads, or none of keys and
    values; where it is in none, no keys of it are read. Raises ArchError naming the key that is
    wrong.
    """
    n_layers = source.count("block_count")
    n_ahead = source.count("nextn_predict_layers", 0)
    if n_ahead >= n_layers:
        key = source.key("nextn_predict_layers")
        raise source.wrong(key, f"fewer than the {n_layers} layers", n_ahead)
    eps = "layer_norm_rms_epsilon" if norm_kind == "rms" else "layer_norm_epsilon"
    return Hparams(
        n_vocab=source.n_vocab(),
        n_ctx_train=source.count("context_length"),
        dim=source.count("embedding_length"),
        eps=source.real(f"attention.{eps}"),
        layers=_read_layers(source, n_layers, windows, attention_is)[: n_layers - n_ahead],
        n_blocks=n_layers,
    )


def _read_layers(
    source: Source, n_layers: int, windows: Windows | None, attention_is: Where
) -> tuple[Layer, ...]:
    no_ffn = (0,) * n_layers if source.count("expert_count", 0) else None
    ffn_dims = source.counts("feed_forward_length", n_layers, no_ffn)
    if attention_is == "nowhere":
        return tuple(Layer(i, 0, 0, 0, 0, ffn_dim) for i, ffn_dim in enumerate(ffn_dims))
    n_heads, n_kv_heads = _read_heads(source, n_layers, attention_is == "everywhere")
    found = (None,) * n_layers if windows is None else windows.read(source, n_layers)
    default = source.count("embedding_length") // next(filter(None, n_heads))
    key_dim = source.count("attention.key_length", default)
    value_dim = source.count("attention.value_length", default)
    local_dims = (
        source.count("attention.key_length_swa", key_dim),
        source.count("attention.value_length_swa", value_dim),
    )
    return tuple(
        Layer(i, n_heads[i], n_kv_heads[i], *dims, ffn_dims[i], window)
        for i, window in enumerate(found)
        for dims in [(key_dim, value_dim) if window is None else local_dims]
    )


def _read_heads(
    source: Source, n_layers: int, everywhere: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of each layer the heads of queries, and those of keys and values."""
    n_heads = source.counts("attention.head_count", n_layers)
    n_kv_heads = source.counts("attention.head_count_kv", n_layers, n_heads)
    if not any(n_heads) or (everywhere and not all(n_heads)):
        where = "every" if everywhere else "some"
        raise source.wrong(source.key("attention.head_count"), f"heads in {where} layer", 0)
    for heads, kv_heads in zip(n_heads, n_kv_heads, strict=True):
        if (everywhere or kv_heads) and (not 0 < kv_heads <= heads or heads % kv_heads):
            key = source.key("attention.head_count_kv")
            raise source.wrong(key, f"a divisor of the {heads} query heads", kv_heads)
    return n_heads, n_kv_heads
