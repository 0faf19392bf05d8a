"""Ollama's routes beside generating: which models there are, what they are, fetching one."""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
from starlette.responses import Response

from qrt.errors import CancelledError, InputError, ModelError, TemplateError
from qrt.server.errors import OLLAMA, RefusedError
from qrt.server.models import Entry, Models
from qrt.server.routes.ollama_parts import stamp
from qrt.server.routing import Request, Route
from qrt.server.stream import Lines, encode, json_response

if TYPE_CHECKING:
    from qrt.api import Model, ModelInfo
    from qrt.hub.offer import Offer

VERSION = "0.12.0"
"""The version of Ollama whose interface this is; clients ask for what they need by it."""

_NEVER = 253402300799.0
"""When a model goes that stays: at the end of the year 9999."""
_LONG = 64
"""Values of the metadata with more items are told only if all is asked for."""
_LATEST = ":latest"
_UNITS = ((1e9, "B"), (1e6, "M"), (1e3, "K"))


class Named(msgspec.Struct):
    """A body that names a model, in one of two ways."""

    model: str | None = None
    name: str | None = None
    stream: bool | None = None
    verbose: bool | None = None

    @property
    def wanted(self) -> str:
        """The name. Raises InputError if there is none."""
        if not (self.model or self.name):
            raise InputError("model: the name of a model is required")
        return self.model or self.name or ""


async def tags(request: Request[Any]) -> Response:
    """All models."""
    sizes = {state.name: state.file_bytes for state in request.models.states()}
    models = [_listed(entry, sizes[entry.name]) for entry in request.models.entries()]
    return json_response({"models": models})


async def ps(request: Request[Any]) -> Response:
    """Those that are loaded."""
    states = {state.name: state for state in request.models.states()}
    models = []
    for entry in request.models.entries():
        if entry.info is None:
            continue
        state = states[entry.name]
        left_s = state.expires_s
        models.append(
            {
                **_listed(entry, state.memory_bytes or state.file_bytes),
                "expires_at": stamp(_NEVER if left_s is None else time.time() + left_s),
                "size_vram": 0,
                "context_length": entry.info.n_ctx,
            }
        )
    return json_response({"models": models})


async def show(request: Request[Named]) -> Response:
    """What a model is; of one that is not loaded, by the header of its file."""
    body = request.body
    path = request.models.unloaded_file(body.wanted)
    if path is None:
        shown = _shown_of((await request.acquire(body.wanted)).model)
    else:
        shown = await asyncio.to_thread(_shown_in, path)
    parameters = "\n".join(f"{name} {value}" for name, value in shown.sampling.items())
    return json_response(
        {
            "license": str(shown.metadata.get("general.license", "")),
            "modelfile": f"FROM {body.wanted}\n",
            "parameters": parameters,
            "template": shown.template,
            "details": _details(shown.size),
            "model_info": _told(shown.metadata, shown.size.n_params, whole=bool(body.verbose)),
            "capabilities": _capabilities(shown),
            "modified_at": stamp(0.0),
        }
    )


class _Size(NamedTuple):
    """What a model consists of."""

    arch: str
    n_params: int
    qtypes: Mapping[str, int]


class _Shown(NamedTuple):
    """What is told of a model."""

    metadata: Mapping[str, object]
    sampling: Mapping[str, Any]
    template: str
    fim_ids: Mapping[str, int]
    size: _Size
    embeds: bool
    """Whether it makes vectors, and no answers."""


def _shown_of(model: Model) -> _Shown:
    template, fim_ids = model.chat_template.source, model.tokenizer.fim_ids
    info = model.info
    embeds = info.pooling is not None
    return _Shown(model.metadata, info.sampling, template, fim_ids, _size(info), embeds)


def _shown_in(path: Path) -> _Shown:
    """What the header of a file tells. Raises GGUFError, and VocabError for its vocabulary."""
    from qrt.formats.gguf import open_gguf
    from qrt.runtime.sampler import recommended_sampling
    from qrt.text import choose_template, load_tokenizer

    with open_gguf(path) as file:
        metadata, tensors = file.metadata, file.tensors.values()
        arch = str(metadata.get("general.architecture", ""))
        tokenizer = load_tokenizer(metadata, str(path))
        try:
            template = choose_template(metadata, tokenizer, None).source
        except TemplateError:
            template = ""
        return _Shown(
            metadata,
            recommended_sampling(metadata, str(path)),
            template,
            tokenizer.fim_ids,
            _Size(
                arch,
                sum(math.prod(tensor.shape) for tensor in tensors),
                Counter(tensor.qtype.name for tensor in tensors),
            ),
            bool(metadata.get(f"{arch}.pooling_type")),
        )


async def version(_: Request[Any]) -> Response:
    """Which interface this is."""
    return json_response({"version": VERSION})


async def pull(request: Request[Named]) -> Response:
    """Fetches a model from the Hugging Face hub, and tells how far that has come."""
    pulling = _Pulling(request.body.wanted.removesuffix(_LATEST), request.models)
    if request.body.stream is False:
        async for _ in pulling.lines():
            pass
        return json_response({"status": "success"})
    return Lines(request, pulling.lines())


class _Pulling:
    """One download. It ends when nobody reads of it any more; another goes on where it ended."""

    def __init__(self, name: str, models: Models) -> None:
        self._name = name
        self._models = models
        self._loop = asyncio.get_running_loop()
        self._told: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._is_left = False
        self._digests: Mapping[str, str | None] = {}

    async def lines(self) -> AsyncGenerator[bytes, None]:
        """A line for each step. Raises RefusedError."""
        task = asyncio.create_task(asyncio.to_thread(self._fetch))
        task.add_done_callback(lambda _: self._told.put_nowait(None))
        try:
            yield encode({"status": "pulling manifest"}) + b"\n"
            while (told := await self._told.get()) is not None:
                yield encode(told) + b"\n"
            try:
                await task
            except ModelError as error:
                raise RefusedError(404, str(error)) from None
            self._models.look()
            yield encode({"status": "success"}) + b"\n"
        finally:
            self._is_left = True

    def _fetch(self) -> None:
        from qrt.hub.offer import ask

        offer: Offer = ask(self._name)
        self._digests = {file.name: file.sha256 for file in offer.model.files}
        offer.fetch(self._progress)

    def _progress(self, what: str, done: int, total: int) -> None:
        if self._is_left:
            raise CancelledError(f"nobody waits for {what} any more")
        told: dict[str, Any] = {"status": "verifying sha256 digest"}
        if what in self._digests:
            digest = self._digests[what] or hashlib.sha256(what.encode()).hexdigest()
            told = {"status": f"pulling {digest[:12]}", "digest": f"sha256:{digest}"}
            told |= {"total": total, "completed": done}
        self._loop.call_soon_threadsafe(self._told.put_nowait, told)


def _listed(entry: Entry, n_bytes: int) -> dict[str, Any]:
    return {
        "name": entry.name,
        "model": entry.name,
        "modified_at": stamp(entry.created),
        "size": n_bytes,
        "digest": hashlib.sha256(entry.name.encode()).hexdigest(),
        "details": _details(None if entry.info is None else _size(entry.info)),
    }


def _size(info: ModelInfo) -> _Size:
    return _Size(info.arch, info.n_params, info.qtypes)


def _details(size: _Size | None) -> dict[str, Any]:
    """What is known of a model; little of one whose size is not."""
    arch = size.arch if size is not None else ""
    matrices = Counter(size.qtypes) if size is not None else Counter[str]()
    del matrices["F32"]
    return {
        "parent_model": "",
        "format": "gguf",
        "family": arch,
        "families": [arch] if arch else [],
        "parameter_size": _rounded(size.n_params) if size is not None else "",
        "quantization_level": matrices.most_common(1)[0][0] if matrices else "",
    }


def _rounded(count: int) -> str:
    for size, unit in _UNITS:
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)


def _told(metadata: Mapping[str, object], n_params: int, *, whole: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"general.parameter_count": n_params}
    for key, value in metadata.items():
        if isinstance(value, str | bool | int | float):
            told[key] = value
        elif whole or (isinstance(value, list | tuple) and len(value) <= _LONG):
            items: Any = value
            told[key] = items.tolist() if isinstance(items, np.ndarray) else list(items)
        else:
            told[key] = None
    return told


def _capabilities(shown: _Shown) -> list[str]:
    if shown.embeds:
        return ["embedding"]
    source = shown.template
    can = ["completion"]
    if "tools" in source:
        can.append("tools")
    if "think" in source:
        can.append("thinking")
    if {"fim_pre", "fim_suf", "fim_mid"} <= shown.fim_ids.keys():
        can.append("insert")
    return can


_GET, _POST = ("GET",), ("POST",)
ROUTES = (
    Route(_GET, "/api/tags", tags, shape=OLLAMA, summary="The models"),
    Route(_GET, "/api/ps", ps, shape=OLLAMA, summary="The models that are loaded"),
    Route(_POST, "/api/show", show, Named, OLLAMA, summary="What a model is"),
    Route(_POST, "/api/pull", pull, Named, OLLAMA, summary="Fetch a model"),
    Route(_GET, "/api/version", version, shape=OLLAMA, summary="Which interface this is"),
)
