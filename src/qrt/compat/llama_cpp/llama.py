"""`Llama`: llama-cpp-python's class over a qrt model."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, Self

from qrt.api.generates import Generates
from qrt.api.loading import load
from qrt.api.signatures import shows
from qrt.compat.llama_cpp import embeddings
from qrt.compat.llama_cpp.echo import prompt_pieces
from qrt.compat.llama_cpp.loading import chat_template, check_others, context, fetched, kv_type
from qrt.compat.llama_cpp.requests import RANDOM_SEED, ChatRequest, CompletionRequest, Request
from qrt.compat.llama_cpp.responses import Answer, ChatAnswer, Response, TextAnswer
from qrt.compat.llama_cpp.tool_answers import ToolAnswer
from qrt.errors import ContextFullError, ModelError
from qrt.runtime.generate import Stream
from qrt.runtime.records import TokenRecord

_FIM_KEYS = (("fim_pre", "prefix"), ("fim_suf", "suffix"), ("fim_mid", "middle"))
"""Names of the metadata that tell the tokens of fill-in-the-middle, the old ones second."""

_SPELLED: Mapping[type, Callable[[Any], str]] = {
    bool: lambda value: str(value).lower(),
    int: str,
    float: "{:f}".format,
    str: str,
}
"""How values of the metadata are spelled, by type."""


@dataclass(frozen=True)
class LlamaRAMCache:
    """What `Llama.set_cache` takes; a `Llama` keeps what prompts share without it."""

    capacity_bytes: int = 2 << 30


class Llama:
    """A model with llama-cpp-python's names, defaults and responses; a context manager.

    model_path: of a GGUF file. n_ctx: tokens of prompt and answer; 0, or more than the model was
    trained for: what it was trained for. seed: of a chain of seeds for the calls that name none;
    by default each gets a fresh one. last_n_tokens_size: tokens that penalties look at. type_k,
    type_v: the type of stored keys and values by GGML's number. lora_path, lora_scale: a low-rank
    adapter, and how much of it is used. chat_format: the name of a template; None, or one that is
    not known: the file's own. embedding: a language model makes embeddings, in place of answers;
    pooling_type: of what, by llama.cpp's number. Other arguments of llama-cpp-python's are taken
    where they mean nothing here. Threads may share a `Llama`, and log probabilities need no
    `logits_all`.

    Raises ValueError for a path without a file or a file that cannot be loaded, InputError for an
    argument that asks for what qrt lacks.
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str],
        *,
        n_ctx: int = 512,
        n_threads: int | None = None,
        seed: int = RANDOM_SEED,
        last_n_tokens_size: int = 64,
        type_k: int | None = None,
        type_v: int | None = None,
        spm_infill: bool = False,
        chat_format: str | None = None,
        lora_path: str | os.PathLike[str] | None = None,
        lora_scale: float = 1.0,
        embedding: bool = False,
        pooling_type: int = -1,
        **others: Any,
    ) -> None:
        check_others(others)
        self.model_path = os.fspath(model_path)
        self.chat_format = chat_format
        self.last_n_tokens_size = last_n_tokens_size
        self.spm_infill = spm_infill
        if not os.path.isfile(self.model_path):
            raise ValueError(f"Model path does not exist: {self.model_path}")
        try:
            self._model = load(
                self.model_path,
                n_ctx=context(self.model_path, n_ctx),
                n_threads=n_threads or None,
                kv_type=kv_type(type_k, type_v),
                chat_template=chat_template(chat_format),
                lora=() if lora_path is None else [(lora_path, lora_scale)],
                embedding=embedding or None,
            )
        except ModelError as error:
            raise ValueError(str(error)) from error
        embeds = self._model.info.pooling is not None
        self._pooling = embeddings.pooling_of(self._model, pooling_type) if embeds else None
        self._session: Generates = self._model if embeds else self._model.session()
        self._is_used = threading.Lock()  # held by the generation that runs on the session
        self.set_seed(seed)
        self._copy = partial(
            type(self),
            self.model_path,
            n_ctx=self._model.info.n_ctx,
            n_threads=n_threads,
            seed=seed,
            last_n_tokens_size=last_n_tokens_size,
            type_k=type_k,
            type_v=type_v,
            spm_infill=spm_infill,
            chat_format=chat_format,
            lora_path=lora_path,
            lora_scale=lora_scale,
            embedding=embedding,
            pooling_type=pooling_type,
        )

    @classmethod
    def from_pretrained(
        cls,
        repo_id: str,
        filename: str | None = None,
        *,
        additional_files: Sequence[str] | None = None,
        local_dir: str | os.PathLike[str] | None = None,
        local_dir_use_symlinks: bool | str = "auto",
        cache_dir: str | os.PathLike[str] | None = None,
        **arguments: Any,
    ) -> Self:
        """The one model of a repository on the Hugging Face hub whose file name fits `filename`.

        It goes into the cache that all tools share, with all parts of a split file, whatever
        `local_dir`, `cache_dir` and `additional_files` say. Raises ValueError unless one fits.
        """
        return cls(fetched(repo_id, filename), **arguments)

    @shows("Options and their defaults:", CompletionRequest)
    def create_completion(
        self, prompt: str | Sequence[int], suffix: str | None = None, **options: Any
    ) -> Any:
        """Continues a prompt: a response, or with `stream=True` an iterator of its chunks.

        Special tokens written in a prompt are parsed. With a `suffix`, a model that has the tokens
        for it fills in what is between, else the suffix is put behind the answer. Raises
        ValueError for a prompt longer than the context, TypeError for an unknown option,
        InputError for a value.
        """
        asked = CompletionRequest(**options)
        settings = self._settings(asked)
        filled = self._infill(prompt, suffix) if suffix is not None else None
        ids = filled or self._prompt_ids(prompt)
        text = prompt if isinstance(prompt, str) else self._model.detokenize(ids)
        wants_echo = asked.echo and not asked.stream
        n_logprobs = asked.logprobs
        answer = TextAnswer(
            *self._common(asked),
            start=len(text),
            echoed=text if wants_echo else "",
            of_echo=prompt_pieces(self._model, ids, n_logprobs, self._piece)
            if wants_echo and n_logprobs is not None
            else None,
            suffix="" if filled else suffix or "",
        )
        return self._answered(asked, answer, lambda place: place.stream(ids, **settings))

    __call__ = create_completion

    @shows("Options and their defaults:", ChatRequest)
    def create_chat_completion(self, messages: Sequence[Any], **options: Any) -> Any:
        """Answers messages: a response, or with `stream=True` an iterator of its chunks.

        With `tools` the message has the model's `tool_calls`, and no thoughts. Raises what
        `create_completion` raises, and TemplateError.
        """
        asked = ChatRequest(**options)
        settings = {**self._settings(asked), "template_vars": asked.template_vars()}
        if not asked.offered:
            answer = ChatAnswer(*self._common(asked))
            return self._answered(
                asked, answer, lambda place: place.stream_chat(messages, **settings)
            )
        told = ToolAnswer(*self._common(asked))
        choice: Any = asked.tool_choice or "auto"

        def start(place: Generates) -> Stream:
            stream = place.stream_chat(
                messages, tools=asked.offered, tool_choice=choice, **settings
            )
            told.reader = stream.reader()
            return stream

        return self._answered(asked, told, start)

    def create_chat_completion_openai_v1(self, messages: Sequence[Any], **options: Any) -> Any:
        """`create_chat_completion` with the classes of the package openai, which it needs."""
        types = import_module("openai.types.chat")
        response = self.create_chat_completion(messages, **options)
        if options.get("stream"):
            return (types.ChatCompletionChunk(**chunk) for chunk in response)
        return types.ChatCompletion(**response)

    def generate(
        self, tokens: Sequence[int], temp: float = 0.8, reset: bool = True, **options: Any
    ) -> Iterator[int]:
        """The tokens that continue `tokens`, the one that ends the answer included.

        `options` are fields of `Request`; `reset` means nothing, since what is stored of an
        earlier prompt is used wherever it is the same.
        """
        settings = self._settings(Request(max_tokens=None, temperature=temp, **options))
        for record in self._records(lambda place: place.stream(tokens, **settings)):
            yield record.token

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        """The token ids of UTF-8 text."""
        decoded = text.decode("utf-8", "replace")
        return self._model.tokenize(decoded, add_special=add_bos, parse_special=special)

    def detokenize(
        self,
        tokens: Sequence[int],
        prev_tokens: Sequence[int] | None = None,
        special: bool = False,
    ) -> bytes:
        """The bytes of token ids; `prev_tokens` are those before them, which BOS may begin."""
        tokenizer = self._model.tokenizer
        text = b"".join(tokenizer.token_bytes(token, special=special) for token in tokens)
        begins = prev_tokens is None and bool(tokens) and tokens[0] == tokenizer.bos_id
        return text.removeprefix(b" ") if begins else text

    def embed(
        self,
        input: str | Sequence[str],
        normalize: bool = False,
        truncate: bool = True,
        return_count: bool = False,
    ) -> Any:
        """A list of numbers for a text, or of such lists; one for each token without pooling.

        truncate: a text longer than the context is cut, else it raises ContextFullError.
        return_count: a tuple with the number of tokens. Raises InputError without embedding=True,
        unless the model was made for embeddings.
        """
        texts = [input] if isinstance(input, str) else input
        how = {"normalize": normalize, "truncate": truncate}
        found, n_tokens = embeddings.embed(self._model, texts, self._pooling, **how)
        answer = found[0] if isinstance(input, str) else found
        return (answer, n_tokens) if return_count else answer

    def create_embedding(self, input: str | Sequence[str], model: str | None = None) -> Any:
        """The same as a response of OpenAI's interface."""
        texts = [input] if isinstance(input, str) else input
        found, n_tokens = self.embed(texts, return_count=True)
        return embeddings.response(found, n_tokens, model or self.model_path)

    def pooling_type(self) -> int:
        """What embeddings are made of, by llama.cpp's number."""
        return embeddings.POOLINGS.index(self._pooling or self._model.info.pooling or "none")

    def n_ctx(self) -> int:
        """Tokens of prompt and answer together."""
        return self._model.info.n_ctx

    def n_embd(self) -> int:
        """The width of hidden states."""
        return self._model.info.dim

    def n_vocab(self) -> int:
        """Token ids run from 0 to n_vocab - 1."""
        return self._model.info.n_vocab

    def token_bos(self) -> int:
        """The token that begins a text; -1: there is none."""
        return _or_none(self._model.tokenizer.bos_id)

    def token_eos(self) -> int:
        """The token that ends a text; -1: there is none."""
        return _or_none(self._model.tokenizer.eos_id)

    def token_nl(self) -> int:
        """The token of a new line."""
        byte = self._model.tokenizer.find("<0x0A>")
        return self._model.tokenize("\n", add_special=False)[-1] if byte is None else byte

    @property
    def metadata(self) -> dict[str, str]:
        """The single values of the file's metadata, as text."""
        values = self._model.metadata.items()
        return {
            key: _SPELLED[type(value)](value) for key, value in values if type(value) in _SPELLED
        }

    def set_seed(self, seed: int) -> None:
        """Begins the chain of seeds for the calls that name none."""
        self._seeds = None if _is_random(seed) else random.Random(seed)

    def set_cache(self, cache: LlamaRAMCache | None) -> None:
        """Means nothing: what prompts share is kept without."""

    def reset(self) -> None:
        """Means nothing: each call gives its whole prompt."""

    def close(self) -> None:
        """Frees the model; a second time does nothing."""
        self._model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[[], Llama], tuple[()]]:
        return self._copy, ()

    def __repr__(self) -> str:
        return f"<qrt.compat.llama_cpp.Llama {self.model_path!r}, n_ctx {self.n_ctx()}>"

    def _answered(
        self, asked: Request, answer: Answer, start: Callable[[Generates], Stream]
    ) -> Response | Iterator[Response]:
        records = self._records(start)
        return answer.chunks(records) if asked.stream else answer.whole(records)

    def _records(self, start: Callable[[Generates], Stream]) -> Iterator[TokenRecord]:
        """Runs on the session, which keeps what prompts share, or beside what runs there."""
        has_session = self._is_used.acquire(blocking=False)
        try:
            with start(self._session if has_session else self._model) as stream:
                yield from stream
        except ContextFullError as error:
            message = f"Requested tokens exceed context window of {self.n_ctx()}: {error}"
            raise ValueError(message) from error
        finally:
            if has_session:
                self._is_used.release()

    def _settings(self, asked: Request) -> dict[str, Any]:
        seed = asked.seed
        if seed is None and self._seeds is not None:
            seed = self._seeds.getrandbits(32)
        return {
            **asked.options(self._model.info.sampling),
            "repeat_last_n": self.last_n_tokens_size,
            "seed": None if seed is None or _is_random(seed) else seed,
        }

    def _common(self, asked: Request) -> tuple[str, frozenset[int], Callable[[int], str] | None]:
        piece = self._piece if asked.n_logprobs is not None else None
        return asked.model or self.model_path, frozenset(self._model.tokenizer.eog_ids), piece

    def _piece(self, token: int) -> str:
        return self._model.tokenizer.token_bytes(token, special=False).decode("utf-8", "ignore")

    def _prompt_ids(self, prompt: str | Sequence[int]) -> list[int]:
        if not isinstance(prompt, str):
            return list(prompt)
        ids = self._model.tokenize(prompt, parse_special=True)
        return ids or [max(self.token_bos(), 0)]

    def _infill(self, prompt: str | Sequence[int], suffix: str) -> list[int] | None:
        """The prompt of a model that fills in the middle; None for one that cannot."""
        metadata, tokenizer = self._model.metadata, self._model.tokenizer
        marks = [
            metadata.get(
                f"tokenizer.ggml.{new}_token_id", metadata.get(f"tokenizer.ggml.{old}_token_id")
            )
            for new, old in _FIM_KEYS
        ]
        before, behind, middle = (mark if isinstance(mark, int) else -1 for mark in marks)
        if min(before, behind, middle) < 0:
            return None
        begin = [tokenizer.bos_id] if tokenizer.add_bos and tokenizer.bos_id is not None else []
        text = prompt if isinstance(prompt, str) else self._model.detokenize(prompt)
        first = [before, *tokenizer.tokenize(text, add_special=False)]
        last = [behind, *tokenizer.tokenize(suffix, add_special=False)]
        parts = (last, first) if self.spm_infill else (first, last)
        return [*begin, *parts[0], *parts[1], middle]


def _is_random(seed: int) -> bool:
    return seed < 0 or seed == RANDOM_SEED


def _or_none(token: int | None) -> int:
    return -1 if token is None else token
