"""The shapes of published models: dimensions and metadata, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Latent:
    """Sizes of latent attention (DeepSeek-AI 2024): of the vectors that all heads share, of one."""

    q_rank: int
    rank: int
    nope: int
    rope: int
    v_dim: int


@dataclass(frozen=True)
class Hybrid:
    """What layers have in place of attention, which some have: its `matrices` (out, in), and its
    other tensors with their value, None for random ones.

    With `gated` attention, queries have gates beside them.
    """

    attention: tuple[int, ...]
    matrices: tuple[tuple[str, tuple[int, int]], ...]
    others: tuple[tuple[str, tuple[int, ...], float | None], ...]
    gated: bool = False


@dataclass(frozen=True)
class Shape:
    """The dimensions and metadata of a published model; `rope_factor` > 0 adds Llama 3 factors.

    `norms` and `biases` name what a layer with attention has beyond the two norms of llama, with
    their lengths.
    Of a mixture, `ffn_dim` is that of an expert; the first `n_dense` layers have none, and
    `dense_dim` in its place. With `latent`, keys and values are those of the cache. With `n_types`
    of tokens it is an encoder as BERT is.
    """

    arch: str
    dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    ffn_dim: int
    n_vocab: int
    n_ctx: int
    rope_theta: float
    norm_eps: float
    tied: bool
    rope_factor: float = 0.0
    fused: bool = False
    n_experts: int = 0
    n_used: int = 0
    n_shared: int = 0
    n_dense: int = 0
    dense_dim: int = 0
    latent: Latent | None = None
    n_types: int = 0
    hybrid: Hybrid | None = None
    ffn_norm: str = "ffn_norm"
    output_norm: str = "output_norm"
    norms: tuple[tuple[str, int], ...] = ()
    biases: tuple[tuple[str, int], ...] = ()
    keys: tuple[tuple[str, object], ...] = ()


def mamba2(dim: int, n_heads: int, attention: tuple[int, ...] = ()) -> Hybrid:
    """Layers of Mamba-2 with heads of 64 channels, a state of 128 and one group."""
    inner = 64 * n_heads
    width = inner + 2 * 128
    return Hybrid(
        attention=attention,
        matrices=(("ssm_in", (inner + width + n_heads, dim)), ("ssm_out", (dim, inner))),
        others=(
            *(("ssm_conv1d.weight", (width, 4), None), ("ssm_conv1d.bias", (width,), 0.0)),
            *(("ssm_norm.weight", (1, inner), 1.0), ("ssm_a", (n_heads, 1), -0.5)),
            *(("ssm_d", (n_heads, 1), 1.0), ("ssm_dt.bias", (n_heads,), 0.0)),
        ),
    )


def ssm_keys(n_heads: int) -> tuple[tuple[str, object], ...]:
    """Metadata of such layers."""
    return (
        *(("ssm.conv_kernel", 4), ("ssm.group_count", 1), ("ssm.inner_size", 64 * n_heads)),
        *(("ssm.state_size", 128), ("ssm.time_step_rank", n_heads)),
    )


LLAMA_1B = Shape(
    arch="llama",
    dim=2048,
    n_layers=16,
    n_heads=32,
    n_kv_heads=8,
    head_dim=64,
    ffn_dim=8192,
    n_vocab=128_256,
    n_ctx=131_072,
    rope_theta=500_000.0,
    norm_eps=1e-5,
    tied=True,
    rope_factor=32.0,
)
SHAPES = {
    "llama-1b": LLAMA_1B,
    "llama-8b": replace(
        LLAMA_1B,
        dim=4096,
        n_layers=32,
        head_dim=128,
        ffn_dim=14_336,
        tied=False,
        rope_factor=8.0,
    ),
    "qwen2-0.5b": Shape(
        arch="qwen2",
        dim=896,
        n_layers=24,
        n_heads=14,
        n_kv_heads=2,
        head_dim=64,
        ffn_dim=4864,
        n_vocab=151_936,
        n_ctx=32_768,
        rope_theta=1_000_000.0,
        norm_eps=1e-6,
        tied=True,
        biases=(("attn_q", 896), ("attn_k", 128), ("attn_v", 128)),
    ),
    "bert-base": Shape(
        arch="bert",
        dim=768,
        n_layers=12,
        n_heads=12,
        n_kv_heads=12,
        head_dim=64,
        ffn_dim=3072,
        n_vocab=30_522,
        n_ctx=512,
        rope_theta=10_000.0,
        norm_eps=1e-12,
        tied=True,
        n_types=2,
        norms=(("attn_output_norm", 768), ("layer_output_norm", 768)),
        biases=(
            *((f"attn_{name}", 768) for name in ("q", "k", "v", "output")),
            *(("ffn_up", 3072), ("ffn_down", 768)),
            *(("attn_output_norm", 768), ("layer_output_norm", 768)),
        ),
        keys=(("attention.causal", False), ("pooling_type", 2)),
    ),
    "qwen3-30b-a3b": Shape(
        arch="qwen3moe",
        dim=2048,
        n_layers=48,
        n_heads=32,
        n_kv_heads=4,
        head_dim=128,
        ffn_dim=768,
        n_vocab=151_936,
        n_ctx=40_960,
        rope_theta=1_000_000.0,
        norm_eps=1e-6,
        tied=False,
        n_experts=128,
        n_used=8,
        norms=(("attn_q_norm", 128), ("attn_k_norm", 128)),
    ),
    "gpt-oss-20b": Shape(
        arch="gpt-oss",
        dim=2880,
        n_layers=24,
        n_heads=64,
        n_kv_heads=8,
        head_dim=64,
        ffn_dim=2880,
        n_vocab=201_088,
        n_ctx=131_072,
        rope_theta=150_000.0,
        norm_eps=1e-5,
        tied=False,
        n_experts=32,
        n_used=4,
        ffn_norm="post_attention_norm",
        biases=(
            *(("attn_q", 4096), ("attn_k", 512), ("attn_v", 512), ("attn_output", 2880)),
            *(("ffn_gate_inp", 32), ("ffn_gate_exps", 2880), ("ffn_up_exps", 2880)),
            ("ffn_down_exps", 2880),
        ),
        keys=(
            ("attention.sliding_window", 128),
            ("rope.scaling.type", "yarn"),
            ("rope.scaling.factor", 32.0),
            ("rope.scaling.original_context_length", 4096),
        ),
    ),
    "mixtral-8x7b": Shape(
        arch="llama",
        dim=4096,
        n_layers=32,
        n_heads=32,
        n_kv_heads=8,
        head_dim=128,
        ffn_dim=14_336,
        n_vocab=32_000,
        n_ctx=32_768,
        rope_theta=1_000_000.0,
        norm_eps=1e-5,
        tied=False,
        n_experts=8,
        n_used=2,
    ),
    "glm-4.7-flash": Shape(
        arch="deepseek2",
        dim=2048,
        n_layers=47,
        n_heads=20,
        n_kv_heads=1,
        head_dim=576,
        ffn_dim=1536,
        n_vocab=154_880,
        n_ctx=202_752,
        rope_theta=1_000_000.0,
        norm_eps=1e-5,
        tied=False,
        n_experts=64,
        n_used=4,
        n_shared=1,
        n_dense=1,
        dense_dim=10_240,
        latent=Latent(q_rank=768, rank=512, nope=192, rope=64, v_dim=256),
        norms=(("attn_q_a_norm", 768), ("attn_kv_a_norm", 512)),
        keys=(
            ("expert_weights_scale", 1.8),
            ("expert_weights_norm", True),
            ("expert_gating_func", 2),
        ),
    ),
    "gemma3-4b": Shape(
        arch="gemma3",
        dim=2560,
        n_layers=34,
        n_heads=8,
        n_kv_heads=4,
        head_dim=256,
        ffn_dim=10_240,
        n_vocab=262_208,
        n_ctx=131_072,
        rope_theta=1_000_000.0,
        norm_eps=1e-6,
        tied=True,
        norms=(
            *(("attn_q_norm", 256), ("attn_k_norm", 256)),
            *(("post_attention_norm", 2560), ("post_ffw_norm", 2560)),
        ),
        keys=(
            ("attention.sliding_window", 1024),
            ("rope.scaling.type", "linear"),
            ("rope.scaling.factor", 8.0),
        ),
    ),
    "qwen3.5-2b": Shape(
        arch="qwen35",
        dim=2048,
        n_layers=24,
        n_heads=8,
        n_kv_heads=2,
        head_dim=256,
        ffn_dim=6144,
        n_vocab=248_320,
        n_ctx=262_144,
        rope_theta=10_000_000.0,
        norm_eps=1e-6,
        tied=True,
        hybrid=Hybrid(
            attention=tuple(range(3, 24, 4)),
            matrices=(
                *(("attn_qkv", (6144, 2048)), ("attn_gate", (2048, 2048))),
                *(("ssm_alpha", (16, 2048)), ("ssm_beta", (16, 2048)), ("ssm_out", (2048, 2048))),
            ),
            others=(
                *(("ssm_conv1d.weight", (6144, 4), None), ("ssm_norm.weight", (128,), 1.0)),
                *(("ssm_a", (16,), -0.5), ("ssm_dt.bias", (16,), 0.0)),
            ),
            gated=True,
        ),
        ffn_norm="post_attention_norm",
        norms=(("attn_q_norm", 256), ("attn_k_norm", 256)),
        keys=(
            ("rope.dimension_count", 64),
            ("rope.dimension_sections", [11, 11, 10, 0]),
            ("full_attention_interval", 4),
            ("ssm.conv_kernel", 4),
            ("ssm.group_count", 16),
            ("ssm.inner_size", 2048),
            ("ssm.state_size", 128),
            ("ssm.time_step_rank", 16),
        ),
    ),
    "lfm2-1.2b": Shape(
        arch="lfm2",
        dim=2048,
        n_layers=16,
        n_heads=32,
        n_kv_heads=8,
        head_dim=64,
        ffn_dim=8192,
        n_vocab=65_536,
        n_ctx=128_000,
        rope_theta=1_000_000.0,
        norm_eps=1e-5,
        tied=True,
        hybrid=Hybrid(
            attention=(2, 5, 8, 10, 12, 14),
            matrices=(
                ("shortconv.in_proj", (6144, 2048)),
                ("shortconv.out_proj", (2048, 2048)),
            ),
            others=(("shortconv.conv.weight", (2048, 3), None),),
        ),
        output_norm="token_embd_norm",
        norms=(("attn_q_norm", 64), ("attn_k_norm", 64)),
        keys=(
            ("attention.head_count_kv", [8 * (i in (2, 5, 8, 10, 12, 14)) for i in range(16)]),
            ("shortconv.l_cache", 3),
        ),
    ),
    "mamba2-1.3b": Shape(
        arch="mamba2",
        dim=2048,
        n_layers=48,
        n_heads=0,
        n_kv_heads=0,
        head_dim=64,
        ffn_dim=0,
        n_vocab=50_288,
        n_ctx=1 << 20,
        rope_theta=10_000.0,
        norm_eps=1e-5,
        tied=True,
        hybrid=mamba2(dim=2048, n_heads=64),
        keys=ssm_keys(n_heads=64),
    ),
    "granite-4-h-tiny": Shape(
        arch="granitehybrid",
        dim=1536,
        n_layers=40,
        n_heads=12,
        n_kv_heads=4,
        head_dim=128,
        ffn_dim=512,
        n_vocab=100_352,
        n_ctx=131_072,
        rope_theta=10_000.0,
        norm_eps=1e-5,
        tied=True,
        n_experts=64,
        n_used=6,
        n_shared=2,
        hybrid=mamba2(dim=1536, n_heads=48, attention=(5, 15, 25, 35)),
        keys=(
            *ssm_keys(n_heads=48),
            ("attention.head_count_kv", [4 * (i in (5, 15, 25, 35)) for i in range(40)]),
            ("rope.scaling.finetuned", False),
            ("expert_shared_feed_forward_length", 1024),
            *(("embedding_scale", 12.0), ("residual_scale", 0.22)),
            *(("attention.scale", 0.0078125), ("logit_scale", 6.0)),
        ),
    ),
    "phi-4-mini": Shape(
        arch="phi3",
        dim=3072,
        n_layers=32,
        n_heads=24,
        n_kv_heads=8,
        head_dim=128,
        ffn_dim=8192,
        n_vocab=200_064,
        n_ctx=131_072,
        rope_theta=10_000.0,
        norm_eps=1e-5,
        tied=True,
        fused=True,
        keys=(
            ("rope.dimension_count", 96),
            ("rope.scaling.original_context_length", 4096),
            ("rope.scaling.attn_factor", 1.1902380714),
        ),
    ),
}
