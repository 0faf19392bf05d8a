"""What llama-server's own routes are sent, and the same in the words of this library."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from qrt.errors import InputError
from qrt.runtime.checks import INT_MAX
from qrt.runtime.sampler.params import MAX_BIAS
from qrt.server.fields import Count, SamplingFields, keywords_of, limited

if TYPE_CHECKING:
    from qrt.api.asking import AnswerKeywords
    from qrt.text import Tokenizer

_RANDOM_SEED = 0xFFFFFFFF

Part = int | str
"""A token, or a text that becomes some."""


class Sampled(SamplingFields, kw_only=True):
    """What all ways to generate share."""

    model: str | None = None
    stream: bool | None = None
    n_predict: Count | None = None
    max_tokens: Count | None = None
    n_probs: Annotated[int, Meta(ge=0)] | None = None
    n_cmpl: Annotated[int, Meta(ge=1)] | None = None
    json_schema: dict[str, Any] | None = None
    t_max_predict_ms: Annotated[int, Meta(le=INT_MAX)] | None = None
    return_tokens: bool | None = None
    timings_per_token: bool | None = None
    post_sampling_probs: bool | None = None
    response_fields: list[str] | None = None

    @property
    def n_most(self) -> int | None:
        """Tokens at most; 0 computes the prompt alone, None is no limit."""
        n_predict = self.max_tokens if self.n_predict is None else self.n_predict
        return None if n_predict is None or n_predict < 0 else n_predict


class Completion(Sampled, kw_only=True):
    """The body of /completion. A prompt is a text, tokens, or both in turn; a list of those is
    several prompts."""

    prompt: str | dict[str, Any] | list[int | str | dict[str, Any] | list[Part]]


class Extra(Struct):
    """A piece of another file."""

    text: str
    filename: str = "tmp"


class Infill(Sampled, kw_only=True):
    """The body of /infill: what stands before and behind the place that is to be filled; `prompt`
    is its own line up to there."""

    input_prefix: str
    input_suffix: str
    input_extra: list[Extra] = field(default_factory=list)
    prompt: str = ""


class Tokenize(Struct):
    """The body of /tokenize."""

    content: str | list[Part]
    model: str | None = None
    add_special: bool = False
    parse_special: bool = True
    with_pieces: bool = False


class Detokenize(Struct):
    """The body of /detokenize."""

    tokens: list[int]
    model: str | None = None


class ApplyTemplate(Struct, kw_only=True):
    """The body of /apply-template."""

    messages: list[dict[str, Any]]
    model: str | None = None
    tools: list[dict[str, Any]] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False


def generate_keywords(body: Sampled, tokenizer: Tokenizer) -> AnswerKeywords:
    """Its options as keywords of `generate`. Raises InputError and RefusedError."""
    if body.seed == _RANDOM_SEED:
        body = msgspec.structs.replace(body, seed=None)
    if body.n_keep is not None and body.n_keep < 0:
        body = msgspec.structs.replace(body, n_keep=None)
    if body.logit_bias:
        biases: Any = _of_tokens(body.logit_bias, tokenizer)
        body = msgspec.structs.replace(body, logit_bias=biases)
    given: Any = limited(keywords_of(body, tokenizer.n_vocab), body.n_most)
    if given.get("max_tokens") == 0:
        given["max_tokens"] = 1
    if body.t_max_predict_ms is not None and body.t_max_predict_ms > 0:
        given["answer_timeout"] = body.t_max_predict_ms / 1000
    if body.n_probs:
        given["logprobs"] = body.n_probs
        given["sampled_logprobs"] = bool(body.post_sampling_probs)
    if body.json_schema is not None:
        given["response_format"] = body.json_schema or {"type": "object"}
    return given  # type: ignore[no-any-return]


def prompts(body: Completion, tokenizer: Tokenizer) -> list[list[int]]:
    """The tokens of each prompt; a list of one where the body has one. Raises InputError."""
    prompt = body.prompt
    if not isinstance(prompt, list):
        return [token_ids([_text(prompt)], tokenizer)]
    if not prompt:
        raise InputError("prompt: the list is empty")
    if is_one(prompt):
        return [token_ids(prompt, tokenizer)]
    each = (part if isinstance(part, list) else [_text(part)] for part in prompt)
    return [token_ids(parts, tokenizer) for parts in each]


def is_one(prompt: object) -> bool:
    """Whether this is a single prompt: not a list, or one in which tokens stand by themselves."""
    return not isinstance(prompt, list) or any(isinstance(part, int) for part in prompt)


def token_ids(
    parts: list[Any], tokenizer: Tokenizer, *, add_special: bool = True, parse_special: bool = True
) -> list[int]:
    """The tokens of texts and tokens in turn; a text that comes first gets those that the model
    starts with. Raises InputError."""
    ids: list[int] = []
    for number, part in enumerate(parts):
        if isinstance(part, str):
            begins = add_special and number == 0
            ids += tokenizer.tokenize(part, add_special=begins, parse_special=parse_special)
        elif isinstance(part, int) and 0 <= part < tokenizer.n_vocab:
            ids.append(part)
        else:
            raise InputError(f"{str(part)[:40]} is neither a text nor one of the model's tokens")
    return ids


def _text(prompt: object) -> str:
    if isinstance(prompt, str):
        return prompt
    text = prompt.get("prompt_string") if isinstance(prompt, dict) else None
    if not isinstance(prompt, dict) or not isinstance(text, str):
        raise InputError("prompt: expected a text, tokens, or both in turn")
    if prompt.get("multimodal_data"):
        raise InputError("multimodal_data: the models that qrt runs read text alone")
    return text


def _of_tokens(
    given: dict[str, float | bool] | list[tuple[int | str, float | bool]], tokenizer: Tokenizer
) -> list[tuple[int | str, float]]:
    """The biases of tokens; that of a text holds for all its tokens, and several add up."""
    biases: dict[int | str, float] = {}
    for what, bias in given.items() if isinstance(given, dict) else given:
        is_text = isinstance(what, str) and not what.isdecimal()
        tokens = tokenizer.tokenize(str(what), add_special=False) if is_text else [what]
        for token in tokens:
            added = -math.inf if bias is False else float(bias)
            biases[token] = biases.get(token, 0.0) + added
    return [
        (token, bias if math.isinf(bias) else max(-MAX_BIAS, min(bias, MAX_BIAS)))
        for token, bias in biases.items()
    ]
