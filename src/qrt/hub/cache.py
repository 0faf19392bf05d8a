"""Deletes models from the Hugging Face cache, and never anything outside it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from qrt.errors import BackendError, InputError
from qrt.hub.places import hub_cache


def is_cached(path: Path) -> bool:
    """Whether a file lies in the Hugging Face cache."""
    return Path(os.path.abspath(hub_cache())) in Path(os.path.abspath(path)).parents


def forget(paths: Iterable[Path]) -> int:
    """Deletes files of the cache, in every revision of their repository; the bytes that this frees.

    Raises InputError for what is no file of the cache, or only a link in it to a file elsewhere;
    BackendError where one cannot be deleted.
    """
    from huggingface_hub import scan_cache_dir

    root = Path(os.path.abspath(hub_cache()))
    names = [Path(os.path.relpath(path, root)).parts for path in paths]
    wanted = {(parts[0], parts[3:]) for parts in names}
    info = scan_cache_dir(root)
    doomed = [
        file
        for repo in info.repos
        for revision in repo.revisions
        for file in revision.files
        if (repo.repo_path.name, file.file_path.relative_to(revision.snapshot_path).parts) in wanted
    ]
    if not doomed or not all(
        file.blob_path.resolve().is_relative_to(root.resolve()) for file in doomed
    ):
        raise InputError(
            f"{'/'.join(names[0])}: is no file of {root}; qrt deletes nothing elsewhere"
        )
    strategy = info.delete_files(*doomed)
    try:
        strategy.execute()
    except OSError as error:
        raise BackendError(f"{error.filename}: cannot be deleted: {error.strerror}") from None
    return strategy.expected_freed_size
