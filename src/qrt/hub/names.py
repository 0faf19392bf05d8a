"""What a repository and a file in it may be called: safe as a path on every system."""

from __future__ import annotations

import re
from dataclasses import dataclass

from qrt.errors import InputError

SUFFIX = ".gguf"
COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")

_MAX_CHARS = 240
_PART = re.compile(r"[A-Za-z0-9_(\[](?:[A-Za-z0-9._+=@,()\[\] -]*[A-Za-z0-9_+=@,()\[\]-])?")
_REPO_PART = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?")
_MAX_REPO_CHARS = 96
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?: *\..*)?", re.IGNORECASE)
_QUANT = re.compile(r"[A-Za-z0-9_-]{1,32}")


@dataclass(frozen=True, slots=True)
class HubName:
    """A model on the hub: a repository, and which of its files, by quantization or by name."""

    repo: str
    file: str | None = None
    quant: str | None = None

    def __str__(self) -> str:
        wanted = self.file or self.quant
        return f"{self.repo}:{wanted}" if wanted else self.repo


def parse_hub_name(text: str) -> HubName:
    """The meaning of REPO, REPO:QUANT, REPO:FILE and REPO/FILE. Raises InputError.

    Nothing in the result can leave the folder that it is put into, under the rules of POSIX and
    of Windows.
    """
    repo, colon, tail = text.partition(":")
    if not colon and repo.count("/") > 1:
        owner, name, tail = repo.split("/", 2)
        repo, colon = f"{owner}/{name}", "/"
    if not is_repo(repo):
        raise InputError(f"{text!r}: expected OWNER/NAME, OWNER/NAME:QUANT or OWNER/NAME/FILE.gguf")
    if not colon:
        return HubName(repo)
    if tail.lower().endswith(SUFFIX):
        if not is_file(tail):
            raise InputError(f"{text!r}: {tail!r} is no name of a file that qrt would write")
        return HubName(repo, file=tail)
    if not _QUANT.fullmatch(tail):
        raise InputError(f"{text!r}: expected a quantization or a file in {SUFFIX}, got {tail!r}")
    return HubName(repo, quant=tail)


def is_repo(text: str) -> bool:
    """Whether this is OWNER/NAME as the hub and the folders of its cache allow it."""
    parts = text.split("/")
    return (
        len(parts) == 2
        and len(text) <= _MAX_REPO_CHARS
        and all(_REPO_PART.fullmatch(part) and not _DEVICE.fullmatch(part) for part in parts)
        and "--" not in text
        and ".." not in text
        and not text.endswith(".git")
    )


def is_file(text: str) -> bool:
    """Whether this is the name of a GGUF file, folders before it included, and can be no other."""
    return (
        len(text) <= _MAX_CHARS
        and text.lower().endswith(SUFFIX)
        and all(_PART.fullmatch(part) and not _DEVICE.fullmatch(part) for part in text.split("/"))
    )
