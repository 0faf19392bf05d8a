"""What `/set` changes: the options of answers, by their names or those of the flags."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, get_type_hints

from qrt.cli.generate_flags import GenerateFlags
from qrt.errors import InputError

DEFAULT: Final = "default"
"""The value that takes a setting back."""

_TEMPERATURE: Final = 0.8
"""Of a model that recommends none: the sampler's own."""
_FORMS = ("response_format", "grammar")
"""Options that are given by flags and stay as they are."""
_OTHERS = ("system", "context")
"""What `/set` takes beside options of answers."""

_SWITCH = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(";") if word)


def _ids(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _biases(text: str) -> dict[int, float]:
    pairs = (part.split("=") for part in text.split(","))
    return {int(token): float(bias) for token, bias in pairs}


_READ: Mapping[Any, tuple[Callable[[str], Any], str]] = {
    int: (int, "a whole number"),
    int | None: (int, "a whole number"),
    float: (float, "a number"),
    bool: (lambda text: _SWITCH[text.lower()], "on or off"),
    str | Sequence[str]: (_words, "texts with ; between them"),
    tuple[str, ...]: (_words, "names with ; between them"),
    Sequence[int]: (_ids, "token ids with , between them"),
    dict[int, float]: (_biases, "token ids and biases, as in 12=-5,13=2"),
}
"""By the type of an option: how its value is read, and what to write."""


class Settings:
    """The options that were given for answers: `given` are keywords of `Model.generate`."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = {name: value for name, value in given.items() if value is not False}

    @property
    def max_tokens(self) -> int | None:
        """Tokens of an answer at most; None: as many as fit."""
        n: int | None = self.given.get("max_tokens")
        return n

    def for_answer(self, n_others: int, recommended: Mapping[str, Any]) -> dict[str, Any]:
        """The keywords of an answer to a question that had so many other ones.

        Another one is drawn, where a model recommends that its answers are not.
        """
        keywords = dict(self.given)
        if n_others and recommended.get("temperature") == 0:
            keywords.setdefault("temperature", _TEMPERATURE)
        if "seed" in keywords:
            keywords["seed"] += n_others
        return keywords

    def set(self, name: str, text: str) -> None:
        """Sets an option to what `text` says, or takes it back.

        Raises InputError for an option that there is not, or a value that it cannot have.
        """
        from qrt.runtime.options import options_from

        option = option_named(name)
        if text == DEFAULT:
            self.given.pop(option, None)
            return
        read, expected = _READ[_kinds()[option]]
        try:
            value = read(text)
        except (ValueError, KeyError):
            raise InputError(f"{option} must be {expected}, got {text!r}") from None
        changed: Any = {**self.given, option: value}
        others: Any = {name: changed[name] for name in changed if name not in _FORMS}
        options_from(others)
        self.given = changed


def settable() -> list[str]:
    """The names of all that `/set` takes."""
    return [*_kinds(), *_OTHERS]


def option_named(name: str) -> str:
    """The option that is meant: top_k by top_k, top-k or --top-k, temperature by temp too.

    Raises InputError for an unknown one, naming the nearest.
    """
    plain = name.strip("-").replace("-", "_").lower()
    kinds = _kinds()
    options = {name: option for name, option in _flag_names().items() if option in kinds}
    options |= {option: option for option in kinds}
    if plain not in options:
        near = difflib.get_close_matches(plain, [*options, *_OTHERS], n=1)
        hint = f"; did you mean {near[0]}?" if near else "; /set alone lists them"
        raise InputError(f"there is no option {name}{hint}")
    return options[plain]


def _kinds() -> dict[str, Any]:
    """The types of the options that can be written."""
    from qrt.runtime.options import GenerateKeywords

    hints = get_type_hints(GenerateKeywords)
    return {option: kind for option, kind in hints.items() if kind in _READ}


def _flag_names() -> dict[str, str]:
    """Options by the names of their flags."""
    names = {}
    for option, hint in get_type_hints(GenerateFlags, include_extras=True).items():
        flag = hint.__metadata__[0]
        for written in (flag.default, *(flag.param_decls or ())):
            names[written.strip("-").replace("-", "_")] = option
    return names
