"""What a program that embeds qrt calls: `load`, the `Model` it gives, the records of a stream."""

from qrt.api.chat_stream import ChatStream
from qrt.api.completion import Completion
from qrt.api.info import ModelInfo
from qrt.api.loading import load, load_tokenizer
from qrt.api.model import Model, Session
from qrt.api.notebook import show
from qrt.api.toolbox import ToolCall
from qrt.runtime.constraint import Grammar
from qrt.runtime.generate import Stream
from qrt.runtime.records import Timings, TokenRecord
from qrt.runtime.sampler import SamplingParams

__all__ = [
    "ChatStream",
    "Completion",
    "Grammar",
    "Model",
    "ModelInfo",
    "SamplingParams",
    "Session",
    "Stream",
    "Timings",
    "TokenRecord",
    "ToolCall",
    "load",
    "load_tokenizer",
    "show",
]
