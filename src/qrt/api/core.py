"""What a model and its sessions share: engine, tokenizer, chat template; prompts into streams."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as Items
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from qrt.api.asking import AnswerKeywords
from qrt.api.chat_stream import ChatStream
from qrt.config import replacing
from qrt.errors import ContextFullError, InputError, TemplateError
from qrt.runtime.checks import check_tokens, shown
from qrt.runtime.engine import Engine
from qrt.runtime.generate import Stream
from qrt.runtime.generation import Generation
from qrt.runtime.loader import Loaded, build_tokenizer
from qrt.runtime.lora import scales_of
from qrt.runtime.options import GenerateOptions, options_from
from qrt.runtime.prefix_tree import Tree
from qrt.runtime.sampler import (
    Breakers,
    SamplingParams,
    breaker_table,
    recommended_sampling,
)
from qrt.runtime.sequence import Sequence
from qrt.structure.deferred import Deferral
from qrt.structure.forms import form_of
from qrt.structure.grammars import Grammars, Held
from qrt.structure.pacing import Pace
from qrt.text import ChatTemplate, Tokenizer, choose_template

if TYPE_CHECKING:
    from qrt.replies import ToolChoice
    from qrt.runtime.embedding import Embedder

Message = Mapping[str, object]
"""A chat message: "role" and "content", and what else the template of the model understands."""


_NO_VARS: Mapping[str, Any] = MappingProxyType({})


class Core:
    """A loaded model with its engine. `close` frees it; later use raises ClosedError."""

    def __init__(self, loaded: Loaded, seed: int | None, chat_template: str | None = None) -> None:
        """chat_template: its source; None: the file's own."""
        self.loaded = loaded
        self.adapters = loaded.adapters
        """With how much of each is used where nobody says."""
        self.engine = Engine(
            loaded.executor,
            loaded.graph.states,
            loaded.n_ctx,
            loaded.limits,
            Tree() if loaded.files is None else Tree(self._prefix_key()),
            loaded.files,
        )
        self.engine.scales = self.scales()
        self.recommended = recommended_sampling(loaded.file.metadata, str(loaded.file.path))
        self._seed = seed
        self._template_source = chat_template
        self._template: ChatTemplate | None = None
        self._breakers: tuple[tuple[str, ...], Breakers] | None = None
        self._tokenizer: Tokenizer | None = None
        self._embedder: Embedder | None = None
        self._making = threading.Lock()  # of `_embedder`
        self.grammars = _grammars(self)
        self._is_forked = False
        _CORES.add(self)

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer; waits for it. Raises VocabError if the file's vocabulary is unusable."""
        self.engine.check_open()
        if self._tokenizer is None:
            self._tokenizer = self._built() if self._is_forked else self.loaded.tokenizer.result()
        return self._tokenizer

    def _built(self) -> Tokenizer:
        """Built here: in a child process, the thread that was building it does not exist."""
        file, graph = self.loaded.file, self.loaded.graph
        return build_tokenizer(file.metadata, graph.n_vocab, str(file.path))

    @property
    def template(self) -> ChatTemplate:
        """The chat template; waits for the tokenizer."""
        tokenizer = self.tokenizer
        if self._template is None:
            metadata = self.loaded.file.metadata
            self._template = choose_template(metadata, tokenizer, self._template_source)
        return self._template

    @property
    def embedder(self) -> Embedder:
        """What embeds and ranks; waits for the tokenizer."""
        from qrt.runtime.embedding import Embedder

        tokenizer, loaded = self.tokenizer, self.loaded
        with self._making:
            if self._embedder is None:
                settings = loaded.executor.settings
                self._embedder = Embedder(
                    loaded.graph,
                    loaded.head_weights,
                    loaded.file.metadata,
                    self.engine,
                    tokenizer,
                    settings.full_rows or settings.max_rows,
                    loaded.adapters,
                )
            return self._embedder

    def check_answers(self) -> None:
        """Raises InputError for a model that makes vectors of texts, not answers."""
        if self.loaded.graph.pooling is not None:
            raise InputError(
                "this model makes vectors of texts, not answers: model.embed(texts) gives them; "
                "to generate, load a language model, without embedding=True"
            )

    @property
    def n_vocab(self) -> int:
        """Token ids run from 0 to n_vocab - 1."""
        return self.loaded.graph.n_vocab

    def prompt_tokens(self, prompt: str | Iterable[int]) -> list[int]:
        """The tokens of a prompt: text is tokenized, ids are checked."""
        if not isinstance(prompt, str):
            return check_tokens("prompt", prompt, self.n_vocab, "a string or token ids")
        if not prompt:
            raise InputError("the prompt is empty; give at least one character")
        n_ctx = self.loaded.n_ctx
        if len(prompt) > n_ctx and (n_tokens := self.tokenizer.least_tokens(prompt)) > n_ctx:
            raise ContextFullError(
                f"the prompt has at least {n_tokens} tokens, the context holds {n_ctx}; "
                "shorten it or load with a larger n_ctx"
            )
        return self.tokenizer.tokenize(prompt, add_special=True)

    def chat_tokens(
        self,
        messages: Items[Message],
        template_vars: Mapping[str, Any],
        offering: Mapping[str, Any] = _NO_VARS,
    ) -> list[int]:
        """The tokens of a conversation in the model's chat template, up to where it answers;
        `offering` are further variables, those of tools."""
        if not isinstance(template_vars, Mapping) or not all(
            isinstance(name, str) for name in template_vars
        ):
            raise InputError(f"template_vars must map names to values, got {shown(template_vars)}")
        return self.template.tokens(messages, {**template_vars, **offering})

    def options(self, keywords: AnswerKeywords) -> GenerateOptions:
        """The checked options of a call, with the sampling that the file recommends.

        A grammar is compiled when a generation begins.
        """
        given: Any = dict(keywords)
        form = form_of(given.pop("response_format", None), given.pop("grammar", None))
        if form is not None:
            if given.get("constraint") is not None:
                raise InputError("constraint is given beside another form of the answer")
            given["constraint"] = Held(self.grammars, form)
        return options_from(given, self.recommended)

    def generation(self, tokens: Items[int], options: GenerateOptions) -> Generation:
        """A generation for these prompt tokens, not yet begun. Raises InputError."""
        self.check_answers()
        if options.seed is None:
            options = dataclasses.replace(options, seed=self._seed)
        constraint = options.constraint
        if isinstance(constraint, Held) and not constraint.form.grammar.has_thoughts:
            held = dataclasses.replace(constraint, deferral=self._deferral(tokens))
            options = dataclasses.replace(options, constraint=held)
        return Generation(
            self.engine.n_ctx,
            self.tokenizer,
            tokens,
            options,
            self.n_vocab,
            self.loaded.weight_bytes,
            self._dry_breakers(options.sampling),
            self.scales(options.lora),
            self.loaded.graph.decoder_start,
            self._pace(tokens, options),
        )

    def scales(self, lora: Mapping[str, float] | None = None) -> tuple[float, ...]:
        """How much of each adapter is used where `lora` is asked for. Raises InputError."""
        return scales_of(self.adapters, lora)

    def use_adapters(self, lora: Mapping[str, float]) -> None:
        """What `scales` says from now on where nothing is asked for. Raises InputError."""
        scales = self.scales(lora)
        pairs = zip(self.adapters, scales, strict=True)
        self.adapters = tuple(dataclasses.replace(adapter, scale=scale) for adapter, scale in pairs)
        self.engine.scales = scales

    def _deferral(self, tokens: Items[int]) -> Deferral | None:
        """How the reply to a prompt may think, before it is held to anything."""
        from qrt.api.thinking import deferral_of

        return deferral_of(self.tokenizer, self._chat_source(), tokens)

    def _pace(self, tokens: Items[int], options: GenerateOptions) -> Pace | None:
        """What ends the thoughts of the reply to a prompt in time, if they have a limit."""
        if options.thinking_budget is None:
            return None
        from qrt.api.thinking import pace_of

        held = options.constraint
        must_call = isinstance(held, Held) and held.form.grammar.has_thoughts
        source, most = self._chat_source(), options.thinking_budget
        return pace_of(self.tokenizer, source, tokens, most, must_call=must_call)

    def _chat_source(self) -> str:
        """The source of the chat template; nothing where there is none."""
        try:
            return self.template.source
        except TemplateError:
            return ""

    def start(
        self,
        tokens: Items[int],
        options: GenerateOptions,
        seq: Sequence | None,
        is_stopped: Callable[[], bool] | None = None,
    ) -> Stream:
        """A stream for these prompt tokens, on `seq` or on a sequence of its own.

        It ends before its next step once `is_stopped` says so.
        """
        generation = self.generation(tokens, options)
        if is_stopped is not None:
            generation.stop_when(is_stopped)
        return Stream(self.engine, generation, seq)

    def start_chat(
        self,
        messages: Items[Message],
        template_vars: Mapping[str, Any],
        tools: Items[Mapping[str, Any]],
        tool_choice: ToolChoice,
        keywords: AnswerKeywords,
        seq: Sequence | None,
        is_stopped: Callable[[], bool] | None = None,
    ) -> ChatStream:
        """A stream of the answer to messages; else as `start`."""
        from qrt.replies import reader_of, with_tools

        source = self.template.source
        told, offering = with_tools(source, messages, tools)
        tokens = self.chat_tokens(told, template_vars, offering)
        if tools or tool_choice not in ("auto", "none"):
            from qrt.replies import call_grammar

            grammar = call_grammar(self.tokenizer, source, tokens, tools, tool_choice)
            others = (keywords.get(name) for name in ("grammar", "response_format", "constraint"))
            if grammar is not None and any(other is not None for other in others):
                raise InputError(
                    "tool_choice, or a strict tool, asks for a grammar beside another; give one"
                )
            if grammar is not None:
                keywords = {**keywords, "grammar": grammar}
        generation = self.generation(tokens, self.options(keywords))
        if is_stopped is not None:
            generation.stop_when(is_stopped)
        reader = partial(reader_of, self.tokenizer, source, tokens, tools)
        return ChatStream(self.engine, generation, seq, reader)

    def save_state(self, seq: Sequence, path: Path) -> None:
        """Writes what is stored of an idle sequence to a file of ours alone."""
        with replacing(path) as file:
            self.engine.write_state(seq, file, self._state_key(seq))

    def load_state(self, seq: Sequence, path: Path) -> int:
        """Puts what such a file has into an idle sequence; the number of its tokens."""
        with open(path, "rb") as file:
            return self.engine.read_state(seq, file, self._state_key(seq), self.n_vocab)

    def _state_key(self, seq: Sequence) -> bytes:
        """What the stored bytes of a sequence depend on, beside the backend."""
        return self._model_key() + (repr(seq.scales).encode() if any(seq.scales) else b"")

    def _model_key(self) -> bytes:
        """What all stored bytes depend on."""
        layers = f"{self.loaded.backend} {self.loaded.executor.settings.kv_type}"
        digests = [adapter.digest for adapter in self.adapters]
        return b"".join((self.loaded.file.fingerprint(), layers.encode(), *digests))

    def _prefix_key(self) -> bytes:
        """What the bytes of a page depend on beside its tokens and those before them."""
        graph, executor = self.loaded.graph, self.loaded.executor
        pages = [executor.page(i, 0) for i, group in enumerate(graph.states) if group.kind == "kv"]
        layout = [[part.nbytes for part in page] for page in pages]
        of_graph = hashlib.sha256(f"{graph.ops}{graph.states}{layout}".encode()).digest()
        return self._model_key() + executor.page_digest() + of_graph

    def close(self) -> None:
        """Frees weights, pages, the file and the template; a second time does nothing."""
        self._template = None
        self.engine.close()
        self.loaded.file.close()

    def _dry_breakers(self, params: SamplingParams) -> Breakers | None:
        """The table for DRY's sequence breakers; the last one made is kept."""
        if params.dry_multiplier == 0:
            return None
        strings = tuple(params.dry_sequence_breakers)
        cached = self._breakers
        if cached is None or cached[0] != strings:
            tokenizer = self.tokenizer
            pieces = (
                tokenizer.detokenize([token], special=True, continued=True)
                for token in range(tokenizer.n_vocab)
            )

            def tokenize(text: str) -> list[int]:
                return tokenizer.tokenize(text, add_special=False)

            cached = strings, breaker_table(pieces, tokenize, strings)
            self._breakers = cached
        return cached[1]


def _grammars(core: Core) -> Grammars:
    """Those of a model, which they do not keep alive."""
    there = weakref.ref(core)

    def tokenizer() -> Tokenizer:
        found = there()
        assert found is not None, "a generation is begun on its model"
        return found.tokenizer

    return Grammars(tokenizer)


_CORES: weakref.WeakSet[Core] = weakref.WeakSet()


def _after_fork() -> None:
    for core in list(_CORES):
        core._is_forked = True
        core._embedder, core._making = None, threading.Lock()
        core.grammars = _grammars(core)  # whose locks a thread of the parent may hold


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
