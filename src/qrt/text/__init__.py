"""Text to tokens and back, and chat templates."""

from __future__ import annotations

from qrt.text.chat import ChatTemplate, choose_template
from qrt.text.decode import StreamDecoder
from qrt.text.tokenizer import Tokenizer, load_tokenizer

__all__ = ["ChatTemplate", "StreamDecoder", "Tokenizer", "choose_template", "load_tokenizer"]
