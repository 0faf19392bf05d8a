"""Models whose stored keys and values are tested, by what is special about them."""

MODELS = {
    "embedded": (None, {}),
    "quantized cache": (None, {"kv_type": "q8_0,q4_0"}),
    "windows": ("gemma3-dense.gguf", {}),
    "keys alone": ("deepseek2-moe.gguf", {}),
    "reference": ("qwen3-dense.gguf", {"backend": "reference"}),
    "parts": ("qwen3-dense.gguf", {"layers": {"0": "reference"}}),
}
