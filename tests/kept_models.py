"""Models whose stored keys, values and states are tested, by what is special about them."""

MODELS = {
    "embedded": (None, {}),
    "quantized cache": (None, {"kv_type": "q8_0,q4_0"}),
    "windows": ("gemma3-dense.gguf", {}),
    "keys alone": ("deepseek2-moe.gguf", {}),
    "reference": ("qwen3-dense.gguf", {"backend": "reference"}),
    "parts": ("qwen3-dense.gguf", {"layers": {"0": "reference"}}),
    "gated delta": ("qwen35-dense.gguf", {}),
    "short convolutions": ("lfm2-dense.gguf", {"kv_type": "q8_0"}),
    "states alone": ("mamba2-dense.gguf", {}),
    "states in parts": ("qwen35-dense.gguf", {"layers": {"0": "reference"}}),
}
WITH_STATES = ("gated delta", "short convolutions", "states alone", "states in parts")
