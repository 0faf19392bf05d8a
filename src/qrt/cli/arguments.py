"""What the arguments mean: which one is the model, where the prompt comes from."""

from __future__ import annotations

import os
import re
import select
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO, TypeVar

from qrt.config import embedded_model
from qrt.errors import InputError, MissingModelError

Written = TypeVar("Written")

_MAX_TEXT_BYTES = 64 * 1024 * 1024
_PATIENCE_S = 2.0
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", "'": "'", '"': '"'}
_NOT_IN_PATHS = re.compile(r'[\s<>|"?*]')
_LINK = re.compile(r"https?://\S+")
_NAME = re.compile(r"[\w.-]+(?::[^\s<>|\"?*]+)?")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|(.))")


def model_and_text(
    first: str | None, rest: Sequence[str] | None, flag: str | None, *, yes: bool = False
) -> tuple[str | None, str | None]:
    """As `name_and_text`, with the path of the model as `only_model` finds it."""
    name, text = name_and_text(first, rest, flag)
    return _there(name, yes), text


def name_and_text(
    first: str | None, rest: Sequence[str] | None, flag: str | None
) -> tuple[str | None, str | None]:
    """(model, text) of `[MODEL] [TEXT]` and `-m`, the model as it is named, None for none.

    A lone argument is the model if it looks like one, else the text. Raises InputError for a text
    of several words.
    """
    words = [word for word in (first, *(rest or ())) if word is not None]
    names_model = bool(words) and looks_like_model(words[0])
    if flag is not None and len(words) > 1 and names_model:
        raise InputError(f"MODEL is given twice: {first} and -m {flag}")
    if flag is None and (names_model or _is_sentence(words[1:])):
        flag = words.pop(0)
    if len(words) > 1:
        model = f"{flag} is the model" if flag else f"{words[0]}: no such model"
        raise InputError(f"{model}; put a text of several words in quotes: {_quoted(words)}")
    return flag, words[0] if words else None


def _is_sentence(rest: Sequence[str]) -> bool:
    """Whether one argument in quotes follows the first, which is therefore meant as a model."""
    return len(rest) == 1 and bool(re.search(r"\s", rest[0]))


def _quoted(words: Sequence[str]) -> str:
    text = " ".join(words)
    return shlex.quote(text) if re.search(r'["$`\\!]', text) else f'"{text}"'


def only_model(first: str | None, flag: str | None, *, yes: bool = False) -> str | None:
    """The path of the model of `[MODEL]` and `-m`; none is the embedded one.

    A model that the hub has is pulled if `yes`, or the person at the terminal, says so. Raises
    ModelError for one that is not there then, before anything is read or loaded.
    """
    return _there(only_name(first, flag), yes)


def only_name(first: str | None, flag: str | None) -> str | None:
    """The same, as it was named. Raises InputError."""
    if first is not None and flag is not None:
        raise InputError(f"MODEL is given twice: {first} and -m {flag}")
    return first if flag is None else flag


def located(model: str) -> str:
    """The path of a model that is given by its name; any other text as it is.

    Raises ModelError for a name whose file is not on this machine.
    """
    if os.path.exists(model):
        return model
    from qrt.hub.locate import locate

    return str(locate(model) or model)


def _there(model: str | None, yes: bool) -> str | None:
    if model is None:
        return None
    try:
        path = located(model)
    except MissingModelError as missing:
        from qrt.cli.pull import pulled

        return pulled(model, missing, yes)
    if os.path.exists(path):
        return path
    from qrt.hub.locate import no_such_file

    raise no_such_file(model)


def looks_like_model(text: str) -> bool:
    """Whether an argument is a model, there or not: a path that exists, x.gguf, a/b, a name, or a
    link.
    """
    if text.endswith(".gguf") or os.path.exists(text) or _LINK.fullmatch(text):
        return True
    is_path = os.sep in text or (os.altsep is not None and os.altsep in text)
    if is_path and not _NOT_IN_PATHS.search(text):
        return True
    if not _NAME.fullmatch(text):
        return False
    from qrt.hub.locate import is_known

    return is_known(text)


def output_format(formats: Mapping[str, Written], name: str) -> Written:
    """What writes the format that `-o` names. Raises InputError for an unknown one."""
    if name not in formats:
        raise InputError(f"-o must be one of {', '.join(formats)}, got {name!r}")
    return formats[name]


def model_file(model: str | None) -> Path:
    """The path of a model; without one, that of the model inside this package."""
    return Path(str(embedded_model()) if model is None else model)


def prompt_from(
    *, text: str | None, flag: str | None, file: str | None, escape: bool, joined: bool = False
) -> str | None:
    """The prompt, from an argument, `-p`, `-f` or a pipe; None if a person is to type it.

    joined: a file or what is piped in may stand behind the text of an argument or `-p`.
    Raises InputError for two that are not joined, an unreadable file, or an empty prompt.
    """
    parts = [given for given in (text, flag) if given is not None]
    if len(parts) > 1 or (parts and file is not None and not joined):
        raise InputError("the prompt is given twice; give PROMPT, -p or -f")
    if file is not None:
        parts.append(read_text(file))
    elif is_terminal(sys.stdin):
        if not parts:
            return None
    elif joined or not parts:
        parts.append(read_stdin())
    if escape:
        parts[0] = unescape(parts[0])
    prompt = "\n\n".join(part for part in parts if part)
    if not prompt:
        raise InputError("the prompt is empty; give it as an argument, with -p or -f, or by a pipe")
    return prompt


def texts_from(words: Sequence[str] | None, file: str | None) -> list[str]:
    """Several texts: arguments, or the lines of a file or a pipe that are not empty.

    Raises InputError where there are none, or they are given twice.
    """
    if words and file is not None:
        raise InputError("texts are given twice; give TEXT or -f FILE")
    if words:
        return list(words)
    if file is None and is_terminal(sys.stdin):
        raise InputError("there is no text; give TEXT, or -f FILE, or pipe in a text a line")
    content = read_stdin() if file is None else read_text(file)
    if texts := [line for line in content.split("\n") if line.strip()]:
        return texts
    raise InputError("there is no text; give one a line")


def is_terminal(stream: TextIO) -> bool:
    """Whether a person is at the other end of a standard stream."""
    return not stream.closed and stream.isatty()


def unescape(text: str) -> str:
    r"""Turns \n \r \t \\ \' \" and \x41 into characters; other backslashes stay."""

    def character(found: re.Match[str]) -> str:
        code, letter = found.groups()
        return chr(int(code, 16)) if code else _ESCAPES.get(letter, found.group())

    return _ESCAPE.sub(character, text)


def read_text(path: str) -> str:
    """The text in a file. Raises InputError where it cannot be read or is not UTF-8."""
    try:
        with open(path, "rb") as file:
            return _decoded(file.read(_MAX_TEXT_BYTES + 1), path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # a path with a zero byte
        raise InputError(f"{path!r}: cannot be read: {error}") from None


def read_stdin() -> str:
    """The text that is piped in, in UTF-8. Raises InputError."""
    _tell_if_it_waits()
    return _decoded(sys.stdin.buffer.read(_MAX_TEXT_BYTES + 1), "standard input")


def _tell_if_it_waits() -> None:
    """Says what is awaited where nothing comes in; a pipe that stays open would just hang."""
    if sys.platform == "win32":  # where only sockets can be waited on
        return
    with suppress(OSError, ValueError):  # no file of the system, or nowhere to say it
        if not select.select([sys.stdin], [], [], _PATIENCE_S)[0]:
            print("reading standard input to its end (< /dev/null: there is none)", file=sys.stderr)


def _decoded(data: bytes, where: str) -> str:
    """The text without the line end that closes it."""
    if len(data) > _MAX_TEXT_BYTES:
        raise InputError(f"{where}: a text may have {_MAX_TEXT_BYTES >> 20} MiB at most")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: is not UTF-8 text (byte {error.start})") from None
    return text.replace("\r\n", "\n").removesuffix("\n")
