"""The facts: every public, documented name of the running Python's standard library."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import tomllib
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

LISTS = tomllib.loads(Path(__file__).with_name("modules.toml").read_text())
SKIPPED = {*LISTS["not_for_users"], *LISTS["deprecated"]}
SUBMODULES = set(LISTS["submodules"])
MAX_PARAMETERS, MAX_SENTENCE, MAX_PARAGRAPH = 48, 260, 160  # characters
CALL = re.compile(r"[\w.]+(\((?:[^()]|\([^()]*\))*\))")
HELD_OUT_SHARE = 0.02


@dataclass(frozen=True)
class Fact:
    """One name, how it is called (or the name again), and what its documentation says of it."""

    name: str
    signature: str
    sentence: str
    paragraph: str
    doc: str

    @property
    def answer(self) -> str:
        """The signature in backticks and the first paragraph where it is short."""
        return f"`{self.signature}`: {self.paragraph}"


def held_out(name: str) -> bool:
    """Whether the prose of a name is kept for validation: the same for every Python and run."""
    return zlib.crc32(f"validation {name}".encode()) % 10_000 < HELD_OUT_SHARE * 10_000


def modules() -> Iterator[tuple[str, ModuleType]]:
    """The public modules of the library that can be imported here."""
    names = {n for n in sys.stdlib_module_names if not n.startswith("_")} - SKIPPED
    for name in ["builtins", *sorted(names | SUBMODULES)]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield name, importlib.import_module(name)
        except ImportError:
            continue


def after_signature(line: str) -> str:
    """What follows `name(...)`, ` -> type.`, ` -- ` in the first line of a C docstring."""
    rest = re.sub(r"^[^()]*\((?:[^()]|\([^()]*\))*\)", "", line).strip()
    if " -- " in f" {rest}":
        return f" {rest}".partition(" -- ")[2]
    rest = re.sub(r"^->\s*", "", rest)
    kind, stop, prose = rest.partition(".  ")
    if stop and len(kind.split()) < 5:
        return prose
    return rest if len(rest.split()) > 3 else ""


def first_paragraph(doc: str, name: str) -> str:
    """The first paragraph of a docstring that is prose, on one line; no signature lines."""
    for paragraph in inspect.cleandoc(doc).split("\n\n"):
        lines = paragraph.split("\n")
        while lines and CALL.match(lines[0]) and f"{name}(" in lines[0]:
            lines[0] = after_signature(lines[0])
            lines = lines if lines[0] else lines[1:]
        text = " ".join(" ".join(lines).split())
        text = re.sub(rf"^{re.escape(name)}(\.py)? --? ", "", text)
        if (
            len(text) >= 12
            and " " in text
            and (text[0].isalpha() or text[0] == "@")
            and not re.match(r"\w+\(", text)
        ):
            return text
    return ""


def first_sentence(paragraph: str) -> str:
    """Up to the first full stop that ends a sentence; it is whole, or there is none."""
    end = re.search(r"(?<!e\.g)(?<!i\.e)(?<!etc)(?<! vs)[.!?]( |$)", paragraph)
    return paragraph[: end.start() + 1] if end else paragraph


def parameters(value: object, doc: str) -> str:
    """`(parameters)` of a callable without annotations, or what its documentation shows."""
    try:
        found = inspect.signature(value)  # type: ignore[arg-type]
    except (ValueError, TypeError, AttributeError, NameError):
        shown = CALL.match(doc)
        return re.sub(r"\[|\]", "", shown[1]) if shown else ""
    kept = [p.replace(annotation=inspect.Parameter.empty) for p in found.parameters.values()]
    if kept and kept[0].name in ("self", "cls", "type"):
        kept = kept[1:]
    text = str(found.replace(parameters=kept, return_annotation=inspect.Signature.empty))
    text = re.sub(r"<class '([\w.]+)'>|<(\w+\.\w+): [^>]*>", r"\1\2", text)
    text = re.sub(r"=<(object object at|implicit)[^>]*>", "=...", text)
    if text in ("(*args, **kwds)", "(*args, **kwargs)"):
        return ""
    return re.sub(r"(, )?/(?=[,)])", "", text).replace("(, ", "(")


def signature(name: str, value: object, doc: str) -> str:
    """`name(parameters)`, shortened where it is long; the name alone where nothing is known."""
    if not callable(value) or (isinstance(value, type) and issubclass(value, BaseException)):
        return name
    text = parameters(value, doc)
    if len(text) > MAX_PARAMETERS:
        text = text[:MAX_PARAMETERS].rpartition(",")[0] + ", ...)"
    return name + text if text.isascii() and text.count("(") == text.count(")") else name


def fact(name: str, value: object) -> Fact | None:
    """What is known of a name, or nothing where it has no documentation of its own."""
    doc = getattr(value, "__doc__", None)
    if not isinstance(doc, str) or doc.startswith("Alias for field number"):
        return None
    paragraph = first_paragraph(doc, name.rpartition(".")[2])
    sentence = first_sentence(paragraph)
    if not sentence or len(sentence) > MAX_SENTENCE or not sentence.isascii():
        return None
    if len(paragraph) > MAX_PARAGRAPH or not paragraph.isascii():
        paragraph = sentence
    return Fact(name, signature(name, value, doc), sentence, paragraph, inspect.cleandoc(doc))


def members(name: str, value: type) -> Iterator[tuple[str, object]]:
    """The public methods and properties that a class defines itself."""
    for attribute, member in sorted(vars(value).items()):
        if not attribute.startswith("_") and not isinstance(member, type):
            member = getattr(member, "__func__", member)
            if callable(member) or inspect.isdatadescriptor(member):
                yield f"{name}.{attribute}", member


def public(module_name: str, module: ModuleType) -> Iterator[tuple[str, object]]:
    """The functions and classes that a module offers, aliases left out."""
    listed = getattr(module, "__all__", None)
    family = module_name.split(".")[0]
    for attribute in listed or sorted(vars(module)):
        value = getattr(module, attribute, None)
        if attribute.startswith("_") or not callable(value):
            continue
        home = str(getattr(value, "__module__", None) or module_name).lstrip("_").split(".")[0]
        own = getattr(value, "__name__", attribute)
        alias = own != attribute and getattr(module, str(own), None) is value
        if not alias and (listed or family in (home, "builtins")):
            yield attribute, value


def facts() -> list[Fact]:
    """Every fact once, under its first public name, in alphabetical order."""
    found: dict[str, Fact] = {}
    seen: set[int] = set()
    for module_name, module in modules():
        prefix = "" if module_name == "builtins" else f"{module_name}."
        named: list[tuple[str, object]] = [(module_name, module)] if prefix else []
        only = module_name.split(".")[0] in LISTS["module_only"]
        for attribute, value in () if only else public(module_name, module):
            if id(value) not in seen:
                seen.add(id(value))
                named.append((prefix + attribute, value))
                if isinstance(value, type):
                    named += members(prefix + attribute, value)
        for name, value in named:
            new = fact(name, value)
            if new:
                found.setdefault(name, new)
    return sorted(found.values(), key=lambda one: one.name)
