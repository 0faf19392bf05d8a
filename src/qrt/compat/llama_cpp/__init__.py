"""llama-cpp-python's high-level interface: a program for it changes one import.

    from qrt.compat.llama_cpp import Llama  # was: from llama_cpp import Llama

Sampling defaults, shapes of responses and names are that library's. What qrt lacks (embeddings,
adapters, images) raises InputError when it is asked for.
"""

from typing import Any

from qrt.compat.llama_cpp.grammar import LlamaGrammar
from qrt.compat.llama_cpp.hooks import LogitsProcessorList, StoppingCriteriaList
from qrt.compat.llama_cpp.llama import Llama, LlamaRAMCache

ChatCompletionMessage = ChatCompletionRequestMessage = dict[str, Any]
LlamaCache = LlamaRAMCache
CreateCompletionResponse = CreateChatCompletionResponse = dict[str, Any]

__all__ = [
    "ChatCompletionMessage",
    "ChatCompletionRequestMessage",
    "CreateChatCompletionResponse",
    "CreateCompletionResponse",
    "Llama",
    "LlamaCache",
    "LlamaGrammar",
    "LlamaRAMCache",
    "LogitsProcessorList",
    "StoppingCriteriaList",
]
