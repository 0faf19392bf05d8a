"""Where this machine keeps GGUF files: Hugging Face cache, LM Studio, Ollama, llama.cpp."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qrt.hub.names import COMMIT, SHA256, is_repo
from qrt.hub.quants import HubFile, HubModel, models_in
from qrt.places import data_dir

HUB = "hf"
OWN = "local"

_MAX_MANIFEST_BYTES = 1 << 20
_MODEL_LAYER = "application/vnd.ollama.image.model"
_DIGEST = "sha256:"
_REPO_FOLDER = "models--"


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model on this machine: SOURCE:NAME names it, `path` is its file or its first split."""

    source: str
    name: str
    path: Path
    n_bytes: int

    def __str__(self) -> str:
        return f"{self.source}:{self.name}"


@dataclass(frozen=True, slots=True)
class Place:
    """A tool that keeps models: its name, and what it keeps."""

    title: str
    models: Callable[[], Iterator[LocalModel]]


def cached_models(repo: str) -> dict[HubModel, Path]:
    """The models of a repository in the Hugging Face cache, with the file that is opened of each.

    One that several revisions have comes from the one that the main branch was last seen at.
    """
    found: dict[str, tuple[HubModel, Path]] = {}
    for snapshot in _snapshots(repo_folder(repo)):
        for model in models_in(_files(snapshot)):
            found.setdefault(model.name, (model, snapshot / model.name))
    return dict(found.values())


def cached_repo(repo: str) -> str:
    """A repository as the Hugging Face cache spells it, whose case of letters may differ."""
    if not repo_folder(repo).is_dir():
        lower = repo_folder(repo).name.lower()
        for folder in _folders(hub_cache()):
            if folder.name.lower() == lower:
                return _repo_of(folder)
    return repo


def hub_cache() -> Path:
    """The cache that tools for the Hugging Face hub share: HF_HUB_CACHE, HF_HOME or the default."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def repo_folder(repo: str) -> Path:
    """The folder of a repository in that cache."""
    return hub_cache() / (_REPO_FOLDER + repo.replace("/", "--"))


def _repo_of(folder: Path) -> str:
    return folder.name.removeprefix(_REPO_FOLDER).replace("--", "/")


def _hub_models() -> Iterator[LocalModel]:
    for folder in _folders(hub_cache()):
        repo = _repo_of(folder)
        if folder.name.startswith(_REPO_FOLDER) and is_repo(repo):
            for model, path in cached_models(repo).items():
                yield LocalModel(HUB, f"{repo}/{model.name}", path, model.n_bytes)


def _snapshots(folder: Path) -> Iterator[Path]:
    """The snapshots of a cached repository, what its main branch was last seen at first."""
    try:
        main = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        main = ""
    others = (s for s in _folders(folder / "snapshots") if COMMIT.fullmatch(s.name))
    yield from sorted(others, key=lambda s: (s.name != main, -s.stat().st_mtime))


def own_models() -> Path:
    """The folder of models that were given to qrt itself, made or not. Raises RuntimeError for a
    user without a home.
    """
    return data_dir() / "models"


def _own_models() -> Iterator[LocalModel]:
    with suppress(RuntimeError):
        yield from _below(own_models(), OWN)


def _lm_studio_models() -> Iterator[LocalModel]:
    for root in (_home(".lmstudio", "models"), _home(".cache", "lm-studio", "models")):
        yield from _below(root, "lmstudio")


def _llama_cpp_models() -> Iterator[LocalModel]:
    root = os.environ.get("LLAMA_CACHE") or _cache_home() / "llama.cpp"
    yield from _below(Path(root), "llamacpp")


def _ollama_models() -> Iterator[LocalModel]:
    kept = os.environ.get("OLLAMA_MODELS")
    roots = [Path(kept)] if kept else [_home(".ollama", "models"), _service_models()]
    for root in roots:
        manifests = root / "manifests"
        for path in _walk(manifests):
            parts = path.relative_to(manifests).parts
            digest = _model_digest(path)
            if len(parts) < 3 or digest is None:
                continue
            blob = root / "blobs" / f"sha256-{digest}"
            name = "/".join(parts[:-1]).removeprefix("registry.ollama.ai/").removeprefix("library/")
            if blob.is_file():
                yield LocalModel("ollama", f"{name}:{parts[-1]}", blob, blob.stat().st_size)


def _service_models() -> Path:
    """Where Ollama keeps models when it runs as a service of the system."""
    return Path("/usr/share/ollama/.ollama/models")


def _model_digest(manifest: Path) -> str | None:
    """The digest of the one file of weights that a manifest of Ollama names; None without one."""
    try:
        with manifest.open("rb") as file:
            content: Any = json.loads(file.read(_MAX_MANIFEST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    layers = content.get("layers") if isinstance(content, dict) else None
    found = [
        str(layer.get("digest"))
        for layer in (layers if isinstance(layers, list) else [])
        if isinstance(layer, dict) and layer.get("mediaType") == _MODEL_LAYER
    ]
    digest = found[0].removeprefix(_DIGEST) if len(found) == 1 else ""
    return digest if SHA256.fullmatch(digest) else None


PLACES: Mapping[str, Place] = {
    HUB: Place("Hugging Face cache", _hub_models),
    OWN: Place("qrt", _own_models),
    "lmstudio": Place("LM Studio", _lm_studio_models),
    "ollama": Place("Ollama", _ollama_models),
    "llamacpp": Place("llama.cpp", _llama_cpp_models),
}
"""Every place by the word that stands before a name in it."""


def _below(root: Path, source: str) -> Iterator[LocalModel]:
    for model in models_in(_files(root)):
        yield LocalModel(source, model.name, root / model.name, model.n_bytes)


def _files(root: Path) -> Iterator[HubFile]:
    """The files under a folder by their names relative to it; links to nowhere are left out."""
    for path in _walk(root):
        if path.is_file():
            yield HubFile(path.relative_to(root).as_posix(), path.stat().st_size)


def _walk(root: Path) -> Iterator[Path]:
    """Every file under a folder; folders that cannot be read are empty."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names))


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(path for path in root.iterdir() if path.is_dir())
    except OSError:
        return []


def _home(*parts: str) -> Path:
    return Path(os.path.expanduser("~"), *parts)


def _cache_home() -> Path:
    if sys.platform == "darwin":
        return _home("Library", "Caches")
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or _home("AppData", "Local"))
    return Path(os.environ.get("XDG_CACHE_HOME") or _home(".cache"))
