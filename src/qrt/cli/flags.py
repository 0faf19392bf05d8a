"""The flags that commands share, as data: each group is a dataclass that commands take whole."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, get_type_hints

from typer import Argument, Option

_RANDOM_SEED = -1
_ENDLESS = -1


def _flag(*names: str, help: str, metavar: str = "N") -> Any:
    return Option(*names, help=help, metavar=metavar, show_default=False)


ModelArgument = Annotated[
    str | None,
    Argument(metavar="MODEL", help="A GGUF file, or a name (qrt list); without it, a small model."),
]
ModelFlag = Annotated[
    str | None, _flag("-m", "--model", metavar="MODEL", help="The model, in place of MODEL.")
]
PromptFlag = Annotated[str | None, _flag("-p", "--prompt", metavar="TEXT", help="The prompt.")]
FileFlag = Annotated[
    str | None, _flag("-f", "--file", metavar="FILE", help="Read the prompt from a file.")
]
EscapeFlag = Annotated[
    bool, Option("-e", "--escape", help=r"Read \n, \t, \\, \x41 ... in the prompt as characters.")
]
PullFlag = Annotated[
    bool, Option("-y", "--yes", help="Pull a model that is not on this machine, without asking.")
]
TimingsFlag = Annotated[
    bool | None,
    Option("--timings/--no-timings", help="Speed on stderr; by default in a terminal."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class KvFlags:
    """The types of stored keys and values."""

    kv_type: Annotated[
        str,
        _flag(
            "--kv-type",
            metavar="TYPE",
            help="Stored keys and values: f16 (default), f32, q8_0, q4_0, or two as in q8_0,q4_0.",
        ),
    ] = "f16"
    k_type: Annotated[
        str | None, _flag("-ctk", "--cache-type-k", metavar="TYPE", help="The type of keys alone.")
    ] = None
    v_type: Annotated[
        str | None, _flag("-ctv", "--cache-type-v", metavar="TYPE", help="That of values alone.")
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
        _flag("-c", "--ctx-size", help="Context in tokens. Default: the model's, at most 4096."),
    ] = None
    n_threads: Annotated[
        int | None, _flag("-t", "--threads", help="Threads. Default: as tuned, or one per CPU.")
    ] = None
    backend: Annotated[
        str, _flag("--backend", metavar="NAME", help="auto (default), cpu or reference.")
    ] = "auto"
    pack: Annotated[
        bool | None,
        Option(
            "--pack/--no-pack",
            help="Keep packed weights on disk and read them from there: for a model larger than "
            "memory. Default: if `qrt pack` was run.",
            show_default=False,
        ),
    ] = None

    def keywords(self) -> dict[str, Any]:
        """The keywords for `qrt.load`."""
        names = ("n_ctx", "n_threads", "backend", "pack")
        given = {name: getattr(self, name) for name in names}
        return given | KvFlags.keywords(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityFlags(LoadFlags):
    """How a text is cut and models run on it, with the names of `QualityOptions`."""

    n_ctx: Annotated[
        int | None, _flag("-c", "--ctx-size", help="Tokens of a chunk. Default 512.")
    ] = None
    n_chunks: Annotated[
        int | None, _flag("--chunks", help="Chunks at most. Default: the whole text.")
    ] = None

    def keywords(self) -> dict[str, Any]:
        """The keywords for `QualityOptions`."""
        return LoadFlags.keywords(self) | {"n_chunks": self.n_chunks}


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateFlags:
    """When to stop and how tokens are chosen, named as in `Model.generate`; None: as there.

    The defaults of sampling that help texts name hold where the model recommends nothing.
    """

    max_tokens: Annotated[
        int | None,
        _flag("-n", "--predict", "--n-predict", help="Tokens at most. Default: no limit."),
    ] = None
    samplers: Annotated[
        str | None,
        _flag("--samplers", metavar="NAMES", help="Steps in order, as in top_k;temperature."),
    ] = None
    seed: Annotated[int | None, _flag("-s", "--seed", help="Default: a fresh one.")] = None
    temperature: Annotated[
        float | None, _flag("--temp", "--temperature", help="Default 0.8; 0 is greedy.")
    ] = None
    top_k: Annotated[int | None, _flag("--top-k", help="Default 40; 0 is off.")] = None
    top_p: Annotated[float | None, _flag("--top-p", help="Default 0.95; 1 is off.")] = None
    min_p: Annotated[float | None, _flag("--min-p", help="Default 0.05; 0 is off.")] = None
    typical_p: Annotated[
        float | None, _flag("--typical", "--typical-p", help="Default 1, off.")
    ] = None
    top_n_sigma: Annotated[float | None, _flag("--top-nsigma", help="Default -1, off.")] = None
    repeat_penalty: Annotated[float | None, _flag("--repeat-penalty", help="Default 1, off.")] = (
        None
    )
    repeat_last_n: Annotated[
        int | None, _flag("--repeat-last-n", help="Tokens that penalties look at. Default 64.")
    ] = None
    presence_penalty: Annotated[
        float | None, _flag("--presence-penalty", help="Default 0, off.")
    ] = None
    frequency_penalty: Annotated[
        float | None, _flag("--frequency-penalty", help="Default 0, off.")
    ] = None
    dry_multiplier: Annotated[float | None, _flag("--dry-multiplier", help="Default 0, off.")] = (
        None
    )
    dry_base: Annotated[float | None, _flag("--dry-base", help="Default 1.75.")] = None
    dry_allowed_length: Annotated[int | None, _flag("--dry-allowed-length", help="Default 2.")] = (
        None
    )
    xtc_probability: Annotated[float | None, _flag("--xtc-probability", help="Default 0, off.")] = (
        None
    )
    xtc_threshold: Annotated[float | None, _flag("--xtc-threshold", help="Default 0.1.")] = None
    mirostat: Annotated[
        int | None, _flag("--mirostat", help="1 or 2 in place of the others. Default 0, off.")
    ] = None
    mirostat_tau: Annotated[float | None, _flag("--mirostat-ent", help="Default 5.")] = None
    mirostat_eta: Annotated[float | None, _flag("--mirostat-lr", help="Default 0.1.")] = None
    stop: Annotated[
        list[str] | None,
        _flag(
            "-r", "--reverse-prompt", metavar="TEXT", help="Stop before this text; may be repeated."
        ),
    ] = None
    ignore_eos: Annotated[bool, Option("--ignore-eos", help="Never let the model end.")] = False
    context_shift: Annotated[
        bool, Option("--context-shift", help="When the context is full, forget the oldest half.")
    ] = False

    def keywords(self) -> dict[str, Any]:
        """The keywords for `Model.generate` that were given; -1 is no limit, or no seed."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.samplers is not None:
            given["samplers"] = [name for name in self.samplers.split(";") if name]
        if given["max_tokens"] == _ENDLESS:
            del given["max_tokens"]
        if given["seed"] == _RANDOM_SEED:
            del given["seed"]
        return {name: value for name, value in given.items() if value is not None}


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
