"""Fetches models from the Hugging Face hub into its cache; all is checked before it may stay."""

from __future__ import annotations

import contextlib
import errno
import logging
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qrt.errors import BackendError, InputError, ModelError, QrtError
from qrt.hub.cache import forget
from qrt.hub.names import COMMIT, SHA256, is_repo
from qrt.hub.places import hub_cache, repo_folder
from qrt.hub.quants import HubFile, HubModel, models_in
from qrt.hub.transfer import bar_class, check, fetch_file, partial_path
from qrt.progress import Progress

_ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MAX_FILES = 100_000


@dataclass(frozen=True, slots=True)
class Listing:
    """What a repository on the hub holds; `arch` is None where the hub does not tell. `repo` is as
    the hub spells it.
    """

    repo: str
    models: tuple[HubModel, ...]
    arch: str | None


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids to ask the hub."""
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE


def list_models(repo: str) -> Listing:
    """Asks the hub for the GGUF models of a repository.

    Raises ModelError: no network, no such repository, or one that wants a token.
    """
    from huggingface_hub import HfApi, constants

    with asking(repo):
        info = HfApi(endpoint=constants.ENDPOINT).model_info(repo, files_metadata=True)
        files = [_hub_file(sibling) for sibling in (info.siblings or [])[:_MAX_FILES]]
        arch = info.gguf.get("architecture") if isinstance(info.gguf, dict) else None
        spelled = info.id if info.id.lower() == repo.lower() and is_repo(info.id) else repo
    found = [file for file in files if file is not None]
    return Listing(spelled, tuple(models_in(found)), arch if isinstance(arch, str) else None)


def fetch(repo: str, files: Sequence[HubFile], progress: Progress) -> Path:
    """Downloads the files that are missing, checks them all, and returns the path of the first.

    A file whose size or SHA-256 is not what the hub lists is deleted again. progress: called as
    progress(name, done, total) in bytes. Raises ModelError, or BackendError where the disk is full.
    """
    _check_space(repo, files)
    paths = [_fetch_one(repo, file, progress) for file in files]
    return paths[0]


def _hub_file(sibling: Any) -> HubFile | None:
    """A file of a listing, None if the hub does not tell its size."""
    name, n_bytes, lfs = sibling.rfilename, sibling.size, sibling.lfs
    if not isinstance(name, str) or type(n_bytes) is not int or n_bytes < 0:
        return None
    sha256 = lfs.sha256 if lfs else None
    if sha256 is not None and not (isinstance(sha256, str) and SHA256.fullmatch(sha256)):
        return None
    return HubFile(name, n_bytes, sha256)


def _check_space(repo: str, files: Sequence[HubFile]) -> None:
    cache = hub_cache().absolute()
    blobs = repo_folder(repo) / "blobs"
    missing = sum(_missing_bytes(blobs, file) for file in files)
    there = next(path for path in (cache, *cache.parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    if missing > free:
        raise BackendError(
            f"{cache}: {missing / 1e9:.2f} GB are to be written, the disk has "
            f"{free / 1e9:.2f} GB left; make room, or set HF_HOME to another disk"
        )


def _missing_bytes(blobs: Path, file: HubFile) -> int:
    if not file.sha256:
        return file.n_bytes
    if (blobs / file.sha256).exists():
        return 0
    partial = partial_path(blobs / file.sha256)
    return file.n_bytes - (partial.stat().st_size if partial.exists() else 0)


def _fetch_one(repo: str, file: HubFile, progress: Progress) -> Path:
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url

    with asking(f"{repo}/{file.name}"):
        url = hf_hub_url(repo, file.name, endpoint=constants.ENDPOINT)
        told = get_hf_file_metadata(url, token=None, endpoint=constants.ENDPOINT)
        etag, commit = told.etag or "", told.commit_hash or ""
        # paths are made of both, whatever they are
        are_names = _ETAG.fullmatch(etag) and COMMIT.fullmatch(commit)
        if not are_names or file.sha256 not in (None, etag):
            raise ModelError(f"{repo}/{file.name}: the hub offers another file than it lists")
        folder = repo_folder(repo)
        blob, link = folder / "blobs" / etag, folder / "snapshots" / commit / file.name
        is_new = not blob.exists() and not link.exists()
        is_ours = is_new and file.n_bytes <= constants.MAX_HTTP_DOWNLOAD_SIZE
        if is_ours:
            lock = hub_cache() / ".locks" / folder.name / f"{etag}.lock"
            fetch_file(url, blob, lock, file, progress)
        path = Path(
            hf_hub_download(
                repo,
                file.name,
                endpoint=constants.ENDPOINT,
                cache_dir=constants.HF_HUB_CACHE,
                tqdm_class=bar_class(file, progress),
            )
        )
    if is_ours:  # checked before it was put in place
        return path
    try:
        check(path, file, progress)
    except ModelError:
        forget([path])
        raise
    return path


@contextlib.contextmanager
def asking(what: str) -> Iterator[None]:
    """Turns what a call of the library raises into one line that says what to do.

    That may be anything: of the operating system, of its HTTP client, of its Xet client.
    """
    from huggingface_hub import constants

    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    except QrtError:
        raise
    except Exception as error:
        raise _explained(error, what, constants.ENDPOINT) from error
    finally:
        logger.setLevel(level)


def _explained(error: Exception, what: str, endpoint: str) -> QrtError:
    from filelock import Timeout
    from httpx2 import HTTPError
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        return _explained(error.__cause__, what, endpoint)
    if isinstance(error, Timeout):
        return ModelError(f"{what}: another program is fetching it; try again when it is done")
    if isinstance(error, errors.GatedRepoError):
        return ModelError(
            f"{what}: its owner wants you to agree to terms first, at {endpoint}/{_repo(what)}; "
            "then set HF_TOKEN to a token of your account"
        )
    if isinstance(error, errors.OfflineModeIsEnabled):
        return ModelError(f"{what}: HF_HUB_OFFLINE forbids to ask {endpoint}")
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        if status in (401, 403, 404):
            return ModelError(
                f"{what}: {endpoint} has none, or does not show it to you (status {status}); "
                "check the name, or set HF_TOKEN for a private one"
            )
        return ModelError(f"{what}: {endpoint} answered with status {status}; try again later")
    if isinstance(error, HTTPError):
        return ModelError(f"{what}: {endpoint} cannot be reached: {error or type(error).__name__}")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return BackendError(f"{hub_cache()}: the disk is full; make room, or set HF_HOME")
    if isinstance(error, errors.HFValidationError):
        return InputError(f"{what}: {error}")
    if isinstance(error, PermissionError) and error.filename:
        return BackendError(f"{error.filename}: cannot be written; set HF_HOME to a folder you own")
    if isinstance(error, ValueError | TypeError | KeyError | AttributeError):
        return ModelError(f"{what}: {endpoint} does not answer as a Hugging Face hub does")
    first_line = (str(error).splitlines() or [type(error).__name__])[0]
    return ModelError(f"{what}: the download failed: {first_line}")


def _repo(what: str) -> str:
    return "/".join(what.split("/")[:2])
