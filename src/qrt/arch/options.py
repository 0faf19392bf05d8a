"""What an architecture states of itself; the defaults are Llama's."""

from __future__ import annotations

from typing import ClassVar, Literal

from qrt.arch.hparams import Where, Windows


class Options:
    """Attributes of a decoder. A stem is a tensor's name without `blk.N.` and what follows it."""

    embed_norm: ClassVar[str | None] = None
    """Stem of the norm of embeddings; None: there is none."""
    learned_positions: bool = False
    """Whether a table of vectors is added, one for each position."""

    output_norm: ClassVar[str] = "output_norm"
    """Name of the norm before logits."""
    norm_kind: Literal["rms", "layer"] = "rms"
    norm_weights: ClassVar[bool] = True
    optional_norms: ClassVar[tuple[str, ...]] = ()
    """Stems of the norms that only some files have."""
    attn_norm: str | None = "attn_norm"
    """Stem of the norm before attention; None: there is none."""
    attn_post_norm: str | None = None
    """Stem of the norm of what attention adds to the residual stream."""
    ffn_norm: str | None = "ffn_norm"
    """Stem of the norm before the feed-forward network."""
    ffn_post_norm: str | None = None
    """Stem of the norm of what the feed-forward network adds."""
    parallel: bool = False
    """Whether the feed-forward network runs beside attention instead of behind it; without a norm
    of its own it reads what attention reads."""

    qk_norm: ClassVar[Literal["head", "each", "row"] | None] = None
    """What `attn_q_norm` and `attn_k_norm` normalize: heads, by one weight for all or by one each,
    or the whole row."""
    qk_norm_after_rope: ClassVar[bool] = False
    v_norm: ClassVar[bool] = False
    """Whether heads of values are normalized, without weights."""
    windows: Windows | None = None
    """Which layers see a window alone."""
    chunked: ClassVar[bool] = False
    """Whether windows begin anew at every multiple of their length."""
    attention_is: ClassVar[Where] = "everywhere"
    """In every layer, or in some, the heads of the others may number 0, or in none."""
    sinks: ClassVar[bool] = False
    """Whether attention has `attn_sinks`."""

    rope_style: Literal["norm", "neox"] | None = "neox"
    """None: positions are not rotated."""
    rope_factors: ClassVar[str | None] = None
    """Tensor of divisors of the rotary frequencies, for files that have it."""
    longrope: ClassVar[bool] = False
    """Whether files may have such divisors for short contexts, and others for long ones."""
    yarn_keys: ClassVar[tuple[str, ...]] = ()
    """Of `rope.scaling.yarn_*` those that the architecture heeds; others keep their defaults."""
    local_rope_base: ClassVar[float | None] = None
    """Rotary base of layers with a window in files without one; None: as in the other layers."""
    local_rope_scaled: ClassVar[bool] = True
    """Whether layers with a window have the scaling and the divisors of the others."""

    ffn: Literal["gated", "fused", "plain"] = "gated"
    """Gate and up apart, both in `ffn_up`, or no gate."""
    act: Literal["silu", "gelu", "gelu_erf", "relu", "relu2"] = "silu"
    has_experts: ClassVar[bool] = False
    """Whether files may have experts, see Mixture."""

    required_biases: ClassVar[tuple[str, ...]] = ()
    """Stems of linear layers and norms that have a bias."""
    optional_biases: ClassVar[tuple[str, ...]] = ()
    """Those that may have a bias, besides projections to queries, keys and values, which always
    may; if one block has it, all must."""
    ignored: ClassVar[frozenset[str]] = frozenset()
    """Tensors that a file may hold and that logits do not need, without `blk.N.`"""

    n_buckets: int = 0
    """Of the distances that scores have a learned bias for."""
    sees_ahead: bool = False
    """Whether rows see those that follow them."""
    two_sided: ClassVar[bool] = False
    """Whether files may say that they do, or do not."""
    cls_act: ClassVar[Literal["tanh", "gelu_erf"]] = "tanh"
    """Activation of a classifier's first layer."""
    cls_softmax: ClassVar[bool] = False
    """Whether its labels have probabilities."""
    cls_pooling: ClassVar[Literal["mean", "cls"]] = "cls"
    """What it reads where rows see those that follow them; elsewhere it reads the last row."""
