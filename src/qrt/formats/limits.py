"""How large the parts of a GGUF header may be; a file that goes beyond is refused."""

from __future__ import annotations

MAX_STRING_BYTES = 1 << 20
MAX_TEMPLATE_BYTES = 64 << 20
MAX_KEY_BYTES = 65_535
MAX_TENSOR_NAME_BYTES = 63
MAX_HEADER_BYTES = 1 << 30  # it is held in memory
MAX_ARRAY_LEN = 1 << 24
MAX_DIMS = 4
MAX_ELEMENTS = (1 << 60) - 1  # of a tensor, dimensions of 0 counting as 1
MAX_ALIGNMENT = 65_536
DEFAULT_ALIGNMENT = 32

HEADER_BYTES = 24
MIN_ENTRY_BYTES = 8 + 1 + 4 + 1  # key length, a key of one byte, type, a value of one byte
MIN_TENSOR_BYTES = 8 + 4 + 8 + 4 + 8  # name length, n_dims, one dimension, type, offset


def max_string_bytes(key: str) -> int:
    """The longest string that may stand under this key."""
    is_template = key.startswith("tokenizer.chat_template")
    return MAX_TEMPLATE_BYTES if is_template else MAX_STRING_BYTES
