"""One answer to /completion as llama-server tells it, whole and in parts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any

from qrt.runtime.lora import scales_of
from qrt.runtime.options import GenerateOptions, options_from
from qrt.runtime.records import PromptProgress, TokenRecord
from qrt.runtime.sampler import SamplingParams
from qrt.server.answers import Answer
from qrt.server.models import Served
from qrt.server.openai import spelled_token
from qrt.server.routes.native_bodies import Sampled
from qrt.server.timings import progress_of, timings_of
from qrt.text import Tokenizer

_RANDOM_SEED = 0xFFFFFFFF
_NO_LIMIT = -1
_NO_SLOT = -1
_OPTIONS = {field.name for kind in (GenerateOptions, SamplingParams) for field in fields(kind)}
"""Keywords that the runtime knows; others are made into those above it."""
_STOPS = {"stop": "eos", "length": "limit"}


class Result:
    """An answer as it comes: every record is taken, in order."""

    def __init__(self, body: Sampled, answer: Answer, index: int) -> None:
        self.body = body
        self.answer = answer
        self._index = index
        self._records: list[TokenRecord] = []
        self._text = ""
        self._n_told = 0
        self._is_empty = body.n_most == 0

    def take(self, record: TokenRecord) -> None:
        """The next token. Of an answer that may have none the one that was sampled is dropped."""
        if not self._is_empty:
            self._records.append(record)
            self._text += record.text

    def part(self) -> dict[str, Any] | None:
        """What the last tokens add to a stream; None while they have no text."""
        new = self._records[self._n_told :]
        if not new or not new[-1].text:
            return None
        self._n_told = len(self._records)
        part = self._part(new[-1].text, new)
        if self.body.n_probs:
            part["completion_probabilities"] = self._probabilities(new)
        return part

    def so_far(self, progress: PromptProgress) -> dict[str, Any]:
        """How far the prompt is."""
        return {**self._part("", ()), "prompt_progress": progress_of(progress)}

    def _part(self, text: str, new: Iterable[TokenRecord]) -> dict[str, Any]:
        return {
            "index": self._index,
            "content": text,
            "tokens": [record.token for record in new],
            "stop": False,
            "id_slot": _number(self.answer),
            "tokens_predicted": len(self._records),
            "tokens_evaluated": len(self.answer.asked.tokens),
        }

    def whole(self) -> dict[str, Any]:
        """The answer; at the end of a stream without its text."""
        asked, body, is_stream = self.answer.asked, self.body, bool(self.body.stream)
        tokenizer = asked.served.model.tokenizer
        last = self._records[-1] if self._records else None
        stopping_word = last.stop_string if last is not None else ""
        has_tokens = bool(body.return_tokens) and not is_stream
        n_all = len(asked.tokens) + len(self._records)
        limit = "limit" if last is None else _STOPS[last.finish_reason or "length"]
        whole = {
            "index": self._index,
            "content": "" if is_stream else self._text,
            "tokens": [record.token for record in self._records] if has_tokens else [],
            "id_slot": _number(self.answer),
            "stop": True,
            "model": asked.model,
            "tokens_predicted": len(self._records),
            "tokens_evaluated": len(asked.tokens),
            "generation_settings": settings(asked.served, asked.keywords, body),
            "prompt": tokenizer.detokenize(asked.tokens, special=True),
            "has_new_line": "\n" in self._text,
            "truncated": limit == "limit" and n_all >= asked.served.model.info.n_ctx,
            "stop_type": "word" if stopping_word else limit,
            "stopping_word": stopping_word,
            "tokens_cached": self.answer.timings.n_cached_tokens,
            "timings": timings_of(self.answer.timings),
        }
        if body.n_probs and not is_stream:
            whole["completion_probabilities"] = self._probabilities(self._records)
        return whole

    def _probabilities(self, records: Iterable[TokenRecord]) -> list[dict[str, Any]]:
        tokenizer = self.answer.asked.served.model.tokenizer
        is_sampled = bool(self.body.post_sampling_probs)
        tops = "top_probs" if is_sampled else "top_logprobs"
        return [
            {
                **_token(tokenizer, record.token, record.logprob, is_sampled),
                tops: [_token(tokenizer, *top, is_sampled) for top in record.top_logprobs],
            }
            for record in records
        ]


def settings(served: Served, keywords: Mapping[str, Any], body: Sampled) -> dict[str, Any]:
    """The options that a generation runs with, by llama.cpp's names. Raises InputError."""
    given: Any = {name: value for name, value in keywords.items() if name in _OPTIONS}
    options = options_from(given, served.model.info.sampling)
    sampling = asdict(options.sampling)
    forbidden = sorted(served.model.tokenizer.eog_ids) if options.ignore_eos else ()
    biases = {**sampling.pop("logit_bias"), **dict.fromkeys(forbidden, -math.inf)}
    n_predict = _NO_LIMIT if options.max_tokens is None else options.max_tokens
    return {
        **sampling,
        "samplers": list(options.sampling.samplers),
        "seed": _RANDOM_SEED if options.seed is None else options.seed,
        "stop": list(options.stop_strings),
        "max_tokens": n_predict,
        "n_predict": n_predict,
        "n_keep": options.n_keep,
        "ignore_eos": options.ignore_eos,
        "stream": bool(body.stream),
        "n_probs": options.logprobs,
        "post_sampling_probs": options.sampled_logprobs,
        "grammar": body.grammar or "",
        "lora": [
            {"id": number, "scale": scale}
            for number, scale in enumerate(scales_of(served.model.adapters, options.lora))
        ],
        "logit_bias": [
            {"token": token, "bias": bias if math.isfinite(bias) else None}
            for token, bias in biases.items()
        ],
    }


def _number(answer: Answer) -> int:
    return _NO_SLOT if answer.asked.slot is None else answer.asked.slot.number


def chosen(whole: dict[str, Any], names: list[str] | None) -> dict[str, Any]:
    """The fields of these names alone, where any are given; a/b is field b of field a."""
    if not names:
        return whole
    found: dict[str, Any] = {}
    for name in names:
        value: Any = whole
        for part in name.split("/"):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            found[name] = value
    return found


def _token(tokenizer: Tokenizer, token: int, logprob: float, is_sampled: bool) -> dict[str, Any]:
    """A token with the log of its probability, or with that itself after sampling."""
    told = {"id": token, **spelled_token(tokenizer, token, logprob)}
    if is_sampled:
        told["prob"] = math.exp(told.pop("logprob"))
    return told
