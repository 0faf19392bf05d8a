"""Fetches one file of the hub; what an interrupted run has fetched stays for the next."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path
from typing import Any

from qrt.errors import ModelError
from qrt.hub.quants import HubFile
from qrt.progress import Progress

_CHUNK_BYTES = 4 << 20
_PATIENCE_S = 1.0
"""How long another process may hold the file before that is an error."""


def partial_path(target: Path) -> Path:
    """Where the bytes of a file wait until all have come."""
    return target.with_name(f"{target.name}.incomplete")


def fetch_file(url: str, target: Path, lock: Path, file: HubFile, progress: Progress) -> None:
    """Writes a file to `target` once it is whole and right; until then its bytes wait beside it.

    A run that ends before that leaves the bytes that came, and the next one asks for the rest.
    progress: called as progress(name, done, total) in bytes. Raises ModelError for a file that is
    not what the hub lists, and what the library and the system raise.
    """
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        WeakFileLock,
        build_hf_headers,
    )

    partial = partial_path(target)
    for path in (target, lock):
        path.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock, timeout=_PATIENCE_S):
        try:
            with partial.open("ab") as opened:
                if opened.tell() < file.n_bytes:
                    http_get(
                        url,
                        opened,
                        resume_size=opened.tell(),
                        headers=build_hf_headers(),
                        tqdm_class=bar_class(file, progress),
                    )
            check(partial, file, progress)
        except (ModelError, OSError) as error:
            if isinstance(error, ModelError) or error.errno == errno.ENOSPC:
                partial.unlink()
            raise
        partial.replace(target)


def check(path: Path, file: HubFile, progress: Progress) -> None:
    """Raises ModelError for a file that is not what the hub lists."""
    n_bytes = path.stat().st_size
    if n_bytes != file.n_bytes:
        problem = f"expected {file.n_bytes} bytes, got {n_bytes}"
    elif file.sha256 is not None and (got := _sha256(path, file, progress)) != file.sha256:
        problem = f"expected SHA-256 {file.sha256[:12]}..., got {got[:12]}..."
    else:
        return
    raise ModelError(f"{file.name}: {problem}; it is deleted, try again")


def _sha256(path: Path, file: HubFile, progress: Progress) -> str:
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as opened:
        while chunk := opened.read(_CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            progress(f"checking {file.name}", done, file.n_bytes)
    return digest.hexdigest()


def bar_class(file: HubFile, progress: Progress) -> Any:
    """What the library takes for its progress bar: it tells `progress` instead."""

    class Bar:
        def __init__(self, *_: object, initial: int = 0, **__: object) -> None:
            self._done = initial

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def update(self, n_bytes: int = 1) -> None:
            self._done += n_bytes
            progress(file.name, self._done, file.n_bytes)

        def update_transfer(self, n_bytes: int) -> None:
            """Bytes from the network that are not yet in the file."""

        def set_postfix_str(self, text: str, refresh: bool = True) -> None:
            """The rate, which `progress` finds out itself."""

        set_transfer_postfix_str = set_postfix_str

    return Bar
