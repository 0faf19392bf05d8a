"""The flags that commands share, as data: each group is a dataclass that commands take whole."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from typing import Annotated, Any, get_type_hints

from typer import Argument, Option

from qrt.cli.completion import all_names
from qrt.cli.output import Shown

_SAME_AS_NONE = {"n_ctx": 0, "n_threads": -1, "n_threads_batch": -1}
"""What llama.cpp takes for the defaults."""


def _flag(
    panel: str, *names: str, help: str, metavar: str | None = "N", completed: Any = None
) -> Any:
    return Option(
        *names,
        help=help,
        metavar=metavar,
        show_default=False,
        rich_help_panel=panel,
        autocompletion=completed,
    )


in_model = partial(_flag, "Model")
in_prompt = partial(_flag, "Prompt")
in_chat = partial(_flag, "Chat")
in_context = partial(_flag, "Context")
in_speed = partial(_flag, "Speed")
in_output = partial(_flag, "Output")
in_sampling = partial(_flag, "Sampling")
in_server = partial(_flag, "Server")

ModelArgument = Annotated[
    str | None,
    Argument(
        metavar="MODEL",
        help="A GGUF file, or a name (qrt list); without it, a small model.",
        autocompletion=all_names,
    ),
]
ModelFlag = Annotated[
    str | None,
    in_model(
        *("-m", "--model"),
        metavar="MODEL",
        help="The model, in place of MODEL.",
        completed=all_names,
    ),
]
PromptFlag = Annotated[
    str | None, in_prompt("-p", "--prompt", metavar="TEXT", help="The prompt, in place of PROMPT.")
]
FileFlag = Annotated[
    str | None, in_prompt("-f", "--file", metavar="FILE", help="A file with the prompt.")
]
EscapeFlag = Annotated[
    bool,
    in_prompt(
        "-e",
        "--escape",
        help=r"Read \n, \t, \\, \x41 ... in the prompt as characters.",
        metavar=None,
    ),
]
PullFlag = Annotated[
    bool,
    in_model(
        "-y",
        "--yes",
        help="Pull a model that is not on this machine, without asking.",
        metavar=None,
    ),
]
ContinueFlag = Annotated[
    bool, in_chat("--continue", help="Go on with the last chat.", metavar=None)
]
SessionFlag = Annotated[
    str | None,
    in_chat("--session", metavar="NAME", help="Keep the chat by this name, and go on with it."),
]
TimingsFlag = Annotated[
    bool, in_output("--timings/--no-timings", help="Speed on stderr.", metavar=None)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFlags:
    """Whether a server answers that runs already."""

    server: Annotated[
        bool,
        in_server("--server", metavar=None, help="Let a running `qrt serve` of yours answer."),
    ] = False
    server_url: Annotated[
        str | None, in_server("--server-url", metavar="URL", help="Let the server there answer.")
    ] = None

    @property
    def is_asked_for(self) -> bool:
        """Whether one is to answer."""
        return self.server or self.server_url is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFlags:
    """What of an answer is shown, and whether the model thinks before it."""

    plain: Annotated[
        bool, in_output("--plain", help="The text as it is, Markdown not rendered.", metavar=None)
    ] = False
    timings: TimingsFlag = False
    think: Annotated[
        bool | None,
        in_output(
            "--think/--no-think",
            help="Think before the answer or not, where the model can do both.",
            metavar=None,
        ),
    ] = None
    hide_think: Annotated[
        bool, in_output("--hide-think", help="A single line in place of thoughts.", metavar=None)
    ] = False

    @property
    def shown(self) -> Shown:
        """What the answer's writer is told."""
        return Shown(self.plain, self.hide_think, self.timings)


@dataclass(frozen=True, slots=True, kw_only=True)
class KvFlags:
    """The types of stored keys and values."""

    kv_type: Annotated[
        str,
        in_context(
            "--kv-type",
            metavar="TYPE",
            help="Stored keys and values: f16 (default), f32, q8_0, q4_0, or two as in q8_0,q4_0.",
        ),
    ] = "f16"
    k_type: Annotated[
        str | None,
        in_context("-ctk", "--cache-type-k", metavar="TYPE", help="The type of keys alone."),
    ] = None
    v_type: Annotated[
        str | None,
        in_context("-ctv", "--cache-type-v", metavar="TYPE", help="That of values alone."),
    ] = None

    def keywords(self) -> dict[str, Any]:
        """The keywords for `qrt.load`."""
        k, comma, v = self.kv_type.partition(",")
        k, v = self.k_type or k, self.v_type or (v if comma else k)
        return {"kv_type": k if k == v else f"{k},{v}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadFlags(KvFlags):
    """How the model is loaded, with the names of `qrt.load`."""

    n_ctx: Annotated[
        int | None,
        in_context(
            "-c", "--ctx-size", help="Context in tokens. Default: the model's, at most 4096."
        ),
    ] = None
    n_threads: Annotated[
        int | None, in_speed("-t", "--threads", help="Threads. Default: as tuned, or one per CPU.")
    ] = None
    n_threads_batch: Annotated[
        int | None, in_speed("-tb", "--threads-batch", help="Those that read prompts. Default: -t.")
    ] = None
    backend: Annotated[
        str, in_speed("--backend", metavar="NAME", help="auto (default), cpu or reference.")
    ] = "auto"
    pack: Annotated[
        bool | None,
        in_speed(
            "--pack/--no-pack",
            metavar=None,
            help="Keep packed weights on disk and read them from there: for a model larger than "
            "memory. Default: if `qrt pack` was run.",
        ),
    ] = None

    def keywords(self) -> dict[str, Any]:
        """The keywords for `qrt.load`."""
        names = ("n_ctx", "n_threads", "n_threads_batch", "backend", "pack")
        given = {name: getattr(self, name) for name in names}
        for name, default in _SAME_AS_NONE.items():
            if given[name] == default:
                given[name] = None
        return given | KvFlags.keywords(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerLoadFlags(LoadFlags):
    """How a model that answers is loaded."""

    mlock: Annotated[
        bool, in_speed("--mlock", metavar=None, help="Keep the model from being swapped out.")
    ] = False
    lora: Annotated[
        list[str] | None,
        in_model(
            "--lora",
            metavar="FILE[:SCALE]",
            help="A low-rank adapter, and how much of it is used (1); repeatable.",
        ),
    ] = None

    def keywords(self) -> dict[str, Any]:
        """The keywords for `qrt.load`."""
        given = LoadFlags.keywords(self)
        if not self.lora:
            return given
        parts = [[text] if os.path.exists(text) else text.split(",") for text in self.lora]
        return given | {"lora": [_with_scale(text) for each in parts for text in each]}


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityFlags(LoadFlags):
    """How a text is cut and models run on it, with the names of `QualityOptions`."""

    n_ctx: Annotated[
        int | None, in_context("-c", "--ctx-size", help="Tokens of a chunk. Default 512.")
    ] = None
    n_chunks: Annotated[
        int | None, in_context("--chunks", help="Chunks at most. Default: the whole text.")
    ] = None

    def keywords(self) -> dict[str, Any]:
        """The keywords for `QualityOptions`."""
        return LoadFlags.keywords(self) | {"n_chunks": self.n_chunks}


def _with_scale(text: str) -> tuple[str, float]:
    """A file and how much of it is used, from FILE or FILE:SCALE."""
    path, colon, scale = text.rpartition(":")
    if not colon or os.path.exists(text):
        return text, 1.0
    try:
        return path, float(scale)
    except ValueError:
        return text, 1.0


def takes_flags(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with every parameter that is a group of flags replaced by the flags themselves."""
    signature = inspect.signature(command)
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hints[name] for name in signature.parameters if is_dataclass(hints[name])}
    parameters: dict[str, inspect.Parameter] = {}
    for name, parameter in signature.parameters.items():
        if name not in groups:
            parameters[name] = parameter.replace(annotation=hints[name])
            continue
        group_hints = get_type_hints(groups[name], include_extras=True)
        for field in fields(groups[name]):
            parameters[field.name] = inspect.Parameter(
                field.name,
                parameter.kind,
                default=field.default,
                annotation=group_hints[field.name],
            )

    def run(**given: Any) -> None:
        whole = {
            name: group(**{field.name: given.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**given, **whole)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__annotations__ = {name: p.annotation for name, p in parameters.items()}
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=list(parameters.values())
    )
    return run
