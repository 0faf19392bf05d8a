"""`Model` and `Session`: what a loaded model is and does, beside generating."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

import numpy as np
from numpy.typing import NDArray

from qrt.api.asking import AnswerKeywords
from qrt.api.completion import Completion, completion
from qrt.api.core import Core
from qrt.api.embeds import Embeds
from qrt.api.generates import Generates
from qrt.api.info import ModelInfo, model_info
from qrt.api.signatures import with_options
from qrt.errors import InputError
from qrt.runtime.checks import check_int, check_tokens, shown
from qrt.runtime.lora import Adapter, checked_lora
from qrt.runtime.many import run_many
from qrt.runtime.sequence import Sequence
from qrt.structure.forms import form_of

if TYPE_CHECKING:
    from qrt.runtime.health import Health
    from qrt.text import ChatTemplate, Tokenizer


class Model(Generates, Embeds):
    """A loaded model, made by `qrt.load`; a context manager.

    Thread-safe: generations of several threads are computed together, a row of each in every step,
    and each gives what it gives alone. Closing it, or letting go of it, frees its memory; a closed
    model raises ClosedError.
    """

    def __init__(self, core: Core) -> None:
        super().__init__(core, None)
        self.info: ModelInfo = model_info(core.loaded, core.recommended)

    @property
    def metadata(self) -> Mapping[str, object]:
        """The key-value pairs of the GGUF file."""
        self._core.engine.check_open()
        return self._core.loaded.file.metadata

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the file's vocabulary, with the ids of its special tokens."""
        return self._core.tokenizer

    @property
    def chat_template(self) -> ChatTemplate:
        """The chat template: its `source`, and what it makes of messages."""
        return self._core.template

    @property
    def max_running(self) -> int:
        """Generations that are computed at the same time; further ones wait."""
        return self._core.engine.limits.n_running

    def tokenize(
        self, text: str, *, add_special: bool = True, parse_special: bool = False
    ) -> list[int]:
        """The token ids of `text`.

        add_special: with the BOS and EOS that the model asks for; parse_special: special tokens
        written in the text become themselves instead of plain text.
        """
        if not isinstance(text, str):
            raise InputError(f"the text to tokenize must be a string, got {shown(text)}")
        return self._core.tokenizer.tokenize(
            text, add_special=add_special, parse_special=parse_special
        )

    def detokenize(self, tokens: Iterable[int], *, special: bool = False) -> str:
        """The text of token ids; special tokens are left out unless `special`."""
        ids = check_tokens("tokens", tokens, self._core.n_vocab)
        return self._core.tokenizer.detokenize(ids, special=special)

    def check_grammar(self, grammar: object) -> None:
        """Compiles what the option `grammar` takes, and keeps it for answers to come. Raises
        InputError and FullError."""
        form = form_of(None, grammar)
        if form is not None:
            self._core.grammars.constraint(form.grammar)

    def logits(
        self,
        prompt: str | Iterable[int],
        *,
        chunk: int | None = None,
        lora: Mapping[str, float] | None = None,
    ) -> NDArray[np.float32]:
        """Logits (n_tokens, n_vocab) float32 from an empty cache; row i follows tokens 0 .. i.

        prompt: text, tokenized as `generate` does, or token ids. chunk: rows in one step, by
        default as many as fit in one; 1 is token by token. lora: as for `generate`. Raises
        InputError for no tokens or an id outside the vocabulary, and ContextFullError if they
        exceed n_ctx.
        """
        engine = self._core.engine
        engine.check_open()
        self._core.check_answers()
        ids = self._core.prompt_tokens(prompt)
        if not ids:
            raise InputError("there are no tokens to compute logits for")
        if chunk is not None:
            check_int("chunk", chunk, 1, engine.max_rows)
        scales = None if lora is None else self._core.scales(checked_lora(lora))
        seq = engine.open(scales=scales)
        try:
            return engine.append(seq, ids, n_logits=len(ids), chunk=chunk)
        finally:
            engine.release(seq)

    @with_options
    def generate_many(
        self,
        prompts: Iterable[str | Iterable[int]],
        *,
        batch_size: int = 16,
        **options: Unpack[AnswerKeywords],
    ) -> list[Completion]:
        """Continues all prompts, up to `batch_size` of them at a time, from one thread.

        The weights are read once for all rows of a step. Each completion has the tokens and
        logprobs that `generate` gives alone with the same options; its timings are those of the
        steps it shared. Raises what `stream` raises, for any prompt, before anything is computed;
        `generate` in as many threads does the same.
        """
        check_int("batch_size", batch_size, 1, self._core.engine.max_rows)
        if isinstance(prompts, str | bytes) or not isinstance(prompts, Iterable):
            raise InputError(f"prompts must be a list of prompts, got {shown(prompts)}")
        checked = self._core.options(options)
        generations = [
            self._core.generation(self._core.prompt_tokens(prompt), checked) for prompt in prompts
        ]
        results = run_many(self._core.engine, generations, batch_size)
        return [
            completion(records, g.seed, len(g.prompt), g.timings, g.constrain)
            for g, records in zip(generations, results, strict=True)
        ]

    def session(self) -> Session:
        """A session: generations in a row that need not compute again what they share."""
        self._core.check_answers()
        return Session(self._core, self._core.engine.open(idle=True))

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """The low-rank adapters that it was loaded with, and how much of each is used where a
        generation does not say."""
        return self._core.adapters

    def use_adapters(self, lora: Mapping[str, float]) -> None:
        """Generations that begin from now on use so much of each adapter, by its name, and nothing
        of others, where they do not say. Raises InputError."""
        self._core.use_adapters(checked_lora(lora))

    @property
    def health(self) -> Health:
        """What its engine is at and has done, told at once, in any thread."""
        return self._core.engine.health()

    def placement(self) -> list[tuple[str, str]]:
        """(op, where and how it runs), in order."""
        self._core.engine.check_open()
        return self._core.loaded.executor.placement()

    def close(self) -> None:
        """Frees weights, KV pages and the file; a second time does nothing."""
        self._core.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        info = self.info
        return f"<qrt.Model {info.name!r} {info.arch} on {info.backend}, n_ctx {info.n_ctx}>"


class Session(Generates):
    """One conversation on a model, made by `model.session()`; a context manager.

    What a prompt shares with the tokens of the turn before stays stored and is not computed again:
    a chat that grows pays only for what is new. One generation at a time: another raises
    BusyError. It may be closed early, and a new turn may start anywhere, since each gives its whole
    prompt.
    """

    def __init__(self, core: Core, seq: Sequence) -> None:
        super().__init__(core, seq)
        self._stored = seq
        core.engine.release_with(self, seq)

    def fork(self) -> Session:
        """A second session that goes on from here; what is stored so far is shared, not copied."""
        return Session(self._core, self._core.engine.fork(self._stored))

    def save_state(self, path: str | os.PathLike[str]) -> None:
        """Writes what is stored, tokens with their keys, values and states, to a file.

        Raises OSError and BusyError.
        """
        self._core.save_state(self._stored, Path(path))

    def load_state(self, path: str | os.PathLike[str]) -> int:
        """Puts what `save_state` wrote in place of what is stored, so that it need not be computed
        again; how many tokens it has.

        Raises InputError for a file that is damaged, or not of this model, type of KV cache and
        machine, and OSError.
        """
        return self._core.load_state(self._stored, Path(path))

    @property
    def n_stored(self) -> int:
        """Tokens that are stored: those that it need not compute again."""
        return len(self._stored)

    def __repr__(self) -> str:
        return f"<qrt.Session, {self.n_stored} tokens stored>"

    def close(self) -> None:
        """Frees the session's KV pages; a second time does nothing.

        A generation on it ends: its stream raises ClosedError when the next record is asked for.
        """
        self._core.engine.release(self._stored)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
