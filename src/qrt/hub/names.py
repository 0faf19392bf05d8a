"""What a repository and a file in it may be called: safe as a path on every system."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote

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
_PREFIX = re.compile(
    r"(?:hf:(?://)?)?(?P<host>(?:https?://)?(?:www\.)?(?:hf\.co|huggingface\.co)/)?", re.IGNORECASE
)
_REVISION = "main"
"""The one whose files are fetched."""
_PAGES = ("blob", "resolve", "raw", "tree")
"""What stands between the repository and the revision in the address of a file or a folder."""
_VIEWED_FILE = "show_file_info"


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
    """The meaning of REPO, REPO:QUANT, REPO:FILE and REPO/FILE, perhaps after hf: or hf.co/, and of
    a link to a repository or a file of huggingface.co. Raises InputError.

    Nothing in the result can leave the folder that it is put into, under the rules of POSIX and
    of Windows.
    """
    prefix = _PREFIX.match(text)
    assert prefix is not None, "it may be empty"
    rest = text[prefix.end() :]
    if prefix["host"]:
        rest = _named_by_link(text, rest)
    repo, colon, tail = rest.partition(":")
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
    if colon == "/" or not _QUANT.fullmatch(tail):
        raise InputError(f"{text!r}: expected a quantization or a file in {SUFFIX}, got {tail!r}")
    return HubName(repo, quant=tail)


def is_hub_link(text: str) -> bool:
    """Whether a text can be nothing but a name on the hub: hf:..., hf.co/... or a link to it."""
    prefix = _PREFIX.match(text)
    return prefix is not None and prefix.end() > 0


def _named_by_link(text: str, rest: str) -> str:
    """REPO, REPO:QUANT or REPO/FILE for what follows the host of a link."""
    path, _, query = rest.partition("#")[0].partition("?")
    parts = path.rstrip("/").split("/")
    viewed = parse_qs(query).get(_VIEWED_FILE)
    if len(parts) == 2 and viewed:
        return f"{path.rstrip('/')}/{viewed[0]}"
    if len(parts) < 4 or parts[2] not in _PAGES:
        return unquote(path.rstrip("/"))
    if parts[3] != _REVISION:
        raise InputError(f"{text!r}: qrt fetches the files of {_REVISION}, not of {parts[3]!r}")
    repo, inner = "/".join(parts[:2]), unquote("/".join(parts[4:]))
    if not inner:
        return repo
    return f"{repo}:{inner}" if parts[2] == "tree" else f"{repo}/{inner}"


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
