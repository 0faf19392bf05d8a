"""Every kernel by name, `family` or `family.parameter...`, and the function that builds it.

Plain data: the builders are imported only where kernels are compiled.
"""

from __future__ import annotations

FAMILIES: dict[str, tuple[str, str]] = {  # family -> (module, builder)
    "run": ("tape", "build_run"),
    "work": ("tape", "build_work"),
    "pack": ("pack", "build"),
    "fetch": ("fetch", "build"),
    "embed": ("embed", "build"),  # .qtype
    "matmul": ("matmul", "build"),  # .qtype.rows
    "matmul_prefill": ("matmul_prefill", "build"),  # .qtype.rows.panels
    "matmul_amx": ("matmul_amx", "build"),  # .qtype
    "norm": ("norm", "build"),  # [.bf16]
    "rope": ("rope", "build"),
    "store_kv": ("attention", "build_store"),  # .k_type.v_type
    "attention": ("attention", "build"),  # .k_type.v_type.heads
    "glu": ("elementwise", "build_glu"),  # [.bf16]
    "add": ("elementwise", "build_add"),
    "select": ("elementwise", "build_select"),
    "read": ("elementwise", "build_read"),
    "peak": ("gauges", "build_peak"),  # .unit
    "clock": ("gauges", "build_clock"),
}
