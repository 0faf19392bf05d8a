"""What a call of llama-cpp-python may ask for, with its defaults, as options of a generation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qrt.compat.llama_cpp.grammar import grammar_of
from qrt.compat.llama_cpp.hooks import hook_options
from qrt.runtime.sampler import SamplingParams

RANDOM_SEED = 0xFFFFFFFF
"""The seed that stands for a fresh one, as any below 0."""

_SAME = (
    *("temperature", "top_p", "min_p", "typical_p", "top_k", "repeat_penalty"),
    *("frequency_penalty", "presence_penalty", "mirostat_tau", "mirostat_eta"),
)
_TEMPLATE_VARS = ("functions", "function_call")


@dataclass(frozen=True, kw_only=True)
class Request:
    """The arguments that completions and chats share. `tfs_z` means nothing there either."""

    max_tokens: int | None = 16
    temperature: float = 0.8
    top_p: float = 0.95
    min_p: float = 0.05
    typical_p: float = 1.0
    stop: str | Sequence[str] | None = None
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repeat_penalty: float = 1.0
    top_k: int = 40
    stream: bool = False
    seed: int | None = None
    tfs_z: float = 1.0
    mirostat_mode: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    model: str | None = None
    stopping_criteria: Callable[..., bool] | None = None
    logits_processor: Callable[..., Any] | None = None
    grammar: object = None
    logit_bias: Mapping[int, float] | None = None

    @property
    def n_logprobs(self) -> int | None:
        """Likeliest tokens to list; None: no log probabilities at all."""
        return None

    def options(self, recommended: Mapping[str, object]) -> dict[str, Any]:
        """Options of a generation but the seed; `recommended` sampling does not hold."""
        plain = SamplingParams()
        bias = self.logit_bias or {}
        return {
            **{name: getattr(plain, name) for name in recommended},
            **{name: getattr(self, name) for name in _SAME},
            **hook_options(self.logits_processor, self.stopping_criteria),
            "max_tokens": self.max_tokens if self.max_tokens and self.max_tokens > 0 else None,
            "stop": self.stop or (),
            "mirostat": self.mirostat_mode,
            "logit_bias": {int(token): amount for token, amount in bias.items()},
            "logprobs": self.n_logprobs or 0,
            "grammar": grammar_of(self.grammar),
        }


@dataclass(frozen=True, kw_only=True)
class CompletionRequest(Request):
    """The arguments of `create_completion` behind the prompt."""

    logprobs: int | None = None
    echo: bool = False

    @property
    def n_logprobs(self) -> int | None:
        return self.logprobs


@dataclass(frozen=True, kw_only=True)
class ChatRequest(Request):
    """The arguments of `create_chat_completion` behind the messages."""

    max_tokens: int | None = None
    temperature: float = 0.2
    functions: Sequence[Any] | None = None
    function_call: object = None
    tools: Sequence[Any] | None = None
    tool_choice: object = None
    response_format: Mapping[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None

    @property
    def n_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None

    def options(self, recommended: Mapping[str, object]) -> dict[str, Any]:
        return {**super().options(recommended), "response_format": self.response_format}

    @property
    def offered(self) -> Sequence[Any]:
        """The tools that the model may call."""
        return () if self.tool_choice == "none" else self.tools or ()

    def template_vars(self) -> dict[str, Any]:
        """What the chat template is told beside its tools."""
        given = {name: getattr(self, name) for name in _TEMPLATE_VARS}
        return {name: value for name, value in given.items() if value is not None}
