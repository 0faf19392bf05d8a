"""Text to tokens and back, and chat templates.

Names are imported when they are first used: the process of a chat template needs no tokenizer.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qrt.text.chat import ChatTemplate, choose_template
    from qrt.text.decode import StreamDecoder
    from qrt.text.load import load_tokenizer
    from qrt.text.tokenizer import Tokenizer

_HOMES = {
    "ChatTemplate": "chat",
    "StreamDecoder": "decode",
    "Tokenizer": "tokenizer",
    "choose_template": "chat",
    "load_tokenizer": "load",
}

__all__ = ["ChatTemplate", "StreamDecoder", "Tokenizer", "choose_template", "load_tokenizer"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'qrt.text' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"qrt.text.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
