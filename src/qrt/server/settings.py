"""What a user's file says of the models that a server has: names, how each is loaded and kept.

keep_alive = "10m"             # how long a model stays loaded that nobody asks for
max_loaded = 2                 # models at a time; otherwise as many as memory allows
default = "coder"              # answers where a request names no model

[models.coder]                 # a name that requests may give
model = "qwen3:4b"             # what it stands for: a name (qrt list), or a file
aliases = ["gpt-4o", "fast"]   # further names
keep_alive = -1
n_ctx = 16384                  # as in qrt.load: n_threads, kv_type, pack, chat_template ...
template_vars = { enable_thinking = false }

[models.coder.options]         # as in model.generate, where a request says nothing
temperature = 0.6
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from qrt.errors import InputError
from qrt.places import config_dir
from qrt.runtime.checks import check_int, check_strings, shown
from qrt.runtime.loader import LoadOptions
from qrt.runtime.options import GenerateKeywords, options_from
from qrt.server.keep_alive import DEFAULT_S, keep_alive_s, kept_s

FILE = "models.toml"
_MOST_BYTES = 1 << 20
_MOST_LOADED = 1000
_MOST_ALIASES = 100
_LONGEST_NAME = 256
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_LOADING = frozenset(f.name for f in fields(LoadOptions)) - {"layers"} | {"chat_template"}
_OWN = {"model", "aliases", "keep_alive", "template_vars", "options"}
_WHOLE = {"keep_alive", "max_loaded", "default", "models"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """What holds for one model.

    model: its name on this machine or its file; None: what it is called here is its name.
    keep_alive: seconds, infinite: for ever; None: as for all.
    load: keywords of `qrt.load`; options: those of `generate`, where a request says nothing;
    template_vars: variables of the chat template, likewise.
    """

    model: str | None = None
    aliases: tuple[str, ...] = ()
    keep_alive: float | None = None
    load: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    options: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    template_vars: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What holds for all models of a server, and for those with a table of their own.

    keep_alive: seconds; infinite: for ever. max_loaded: models at a time; None: as many as memory
    allows. default: the name of the model for requests that name none. load, template_vars: as in
    `ModelSettings`, for what a model's own do not say.
    """

    keep_alive: float = DEFAULT_S
    max_loaded: int | None = None
    default: str | None = None
    models: Mapping[str, ModelSettings] = field(default_factory=lambda: MappingProxyType({}))
    load: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    template_vars: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)

    def of(self, name: str) -> ModelSettings:
        """What holds for one model, its own settings over the common ones."""
        own = self.models.get(name) or ModelSettings()
        return replace(
            own,
            load={**self.load, **own.load},
            template_vars={**self.template_vars, **own.template_vars},
        )


def settings_file() -> Path | None:
    """Where the file is that holds where none is named; None for a user without a home."""
    try:
        return config_dir() / FILE
    except RuntimeError:
        return None


def read_settings(path: Path) -> Settings:
    """The settings in a file. Raises InputError that says where and what is wrong in it."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise InputError(f"may have {_MOST_BYTES >> 20} MiB at most")
        return settings_of(tomllib.loads(text.decode("utf-8-sig")))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    except RecursionError:
        raise InputError(f"{path}: is nested too deep") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: is not TOML: {error}") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def settings_of(table: Mapping[str, Any]) -> Settings:
    """The settings of a table as TOML gives it. Raises InputError."""
    _check_keys("", table, _WHOLE)
    keep_alive = keep_alive_s(table.get("keep_alive", DEFAULT_S))
    most = table.get("max_loaded")
    if most is not None:
        check_int("max_loaded", most, 1, _MOST_LOADED)
    models = {
        _name("models", name): _model(f"models.{name}", _table(f"models.{name}", one))
        for name, one in _table("models", table.get("models", {})).items()
    }
    default = table.get("default")
    names = [name for own, one in models.items() for name in (own, *one.aliases)]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"models: {name!r} names two models")
    return Settings(
        keep_alive=keep_alive,
        max_loaded=most,
        default=None if default is None else _name("default", default),
        models=MappingProxyType(models),
    )


def _model(where: str, table: Mapping[str, Any]) -> ModelSettings:
    _check_keys(f"{where}: ", table, _OWN | _LOADING)
    load = {name: table[name] for name in _LOADING & table.keys()}
    options = _table(f"{where}.options", table.get("options", {}))
    template = load.get("chat_template", "")
    if not isinstance(template, str):
        raise InputError(f"{where}: chat_template must be a string, got {shown(template)}")
    try:
        LoadOptions(**{name: value for name, value in load.items() if name != "chat_template"})
        options_from(cast(GenerateKeywords, dict(options)))
        own_keep = kept_s(table.get("keep_alive"))
        aliases = check_strings("aliases", table.get("aliases", ()), _MOST_ALIASES, _LONGEST_NAME)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    model = table.get("model")
    return ModelSettings(
        model=None if model is None else _name(f"{where}.model", model),
        aliases=aliases,
        keep_alive=own_keep,
        load=MappingProxyType(load),
        options=MappingProxyType(dict(options)),
        template_vars=_table(f"{where}.template_vars", table.get("template_vars", {})),
    )


def _check_keys(where: str, table: Mapping[str, Any], known: set[str] | frozenset[str]) -> None:
    for key in table:
        if key not in known:
            near = get_close_matches(key, sorted(known), 1)
            meant = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"
            raise InputError(f"{where}there is no setting {key!r}; {meant}")


def _table(where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where} must be a table, got {shown(value)}")
    return MappingProxyType(value)


def _name(where: str, value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_NAME:
        raise InputError(f"{where}: expected a name, got {shown(value)}")
    return value
