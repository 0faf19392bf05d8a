"""Machine code of kernels: compiled once per machine in child processes, kept as files, loaded.

The key of the cache is a hash of everything the code depends on: the source of this package, numba,
llvmlite, the CPU with its features, and the tier. A damaged entry is compiled anew. What came with
the package (`shipped`) is not compiled at all.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from qrt.config import check_private, private_dir, replacing
from qrt.errors import BackendError
from qrt.kernels.entries import packed, source_digest, unpacked
from qrt.kernels.isa import Tier, host_features
from qrt.kernels.shipped import shipped_entries
from qrt.progress import Progress

MAX_COMPILERS = 4

Entries = dict[str, tuple[str, bytes]]
"""(symbol, code) by the name of the kernel."""


def version(package: str) -> str:
    """The version of an installed package, from the name of the folder that pip leaves beside it.

    Importing `importlib.metadata` takes 25 ms; it is asked where there is no such folder.
    """
    spec = find_spec(package)
    if spec is not None and spec.origin is not None:
        folders = Path(spec.origin).parents[1].glob(f"{package}-*.dist-info")
        if names := sorted(folder.name for folder in folders):
            return " ".join(names)
    from importlib.metadata import version as asked

    return asked(package)


def cache_key(tier: Tier) -> str:
    """The name of the directory that holds `tier`'s objects for this machine."""
    digest = hashlib.sha256(source_digest())
    facts = [version("numba"), version("llvmlite"), platform.machine(), tier.name, sys.platform]
    facts += [tier.triple] if tier.triple else []
    digest.update("\n".join([*facts, *sorted(host_features())]).encode())
    return f"{tier.name}-{digest.hexdigest()[:20]}"


class ObjectCache:
    """Object files in one directory, an entry each."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def read(self, name: str) -> tuple[str, bytes] | None:
        """(symbol, code), or None when absent; a damaged entry is deleted."""
        path = self.directory / f"{name}.o"
        try:
            entry = unpacked(path.read_bytes())
        except OSError:
            return None
        if entry is None:
            self.forget(name)
        return entry

    def forget(self, name: str) -> None:
        """Deletes an entry."""
        (self.directory / f"{name}.o").unlink(missing_ok=True)

    def write(self, name: str, symbol: str, code: bytes) -> None:
        """Stores an entry by rename, so that readers see all of it or nothing."""
        private_dir(self.directory)
        with replacing(self.directory / f"{name}.o") as file:
            file.write(packed(symbol, code))


def compile_missing(
    names: Sequence[str], cache: ObjectCache, tier: Tier, n_compilers: int, progress: Progress
) -> None:
    """Compiles `names` into `cache`, several at a time in processes of their own."""
    todo: SimpleQueue[str] = SimpleQueue()
    for name in names:
        todo.put(name)
    done: SimpleQueue[str | BaseException] = SimpleQueue()
    n_compilers = max(1, min(n_compilers, MAX_COMPILERS, len(names)))
    what = "compiling kernels for your CPU"
    progress(what, 0, len(names))
    for _ in range(n_compilers):
        threading.Thread(target=_feed, args=(todo, done, cache, tier), daemon=True).start()
    try:
        for count in range(len(names)):
            result = done.get()
            if isinstance(result, OSError):
                place = f"{cache.directory}: {result.strerror or result}"
                raise BackendError(f"cannot keep compiled kernels in {place}; set QRT_CACHE_DIR")
            if isinstance(result, BaseException):
                raise result
            progress(what, count + 1, len(names))
    finally:  # an error or an interrupt leaves nothing to the compilers
        while not todo.empty():
            with suppress(Empty):
                todo.get_nowait()


def _feed(
    todo: SimpleQueue[str],
    done: SimpleQueue[str | BaseException],
    cache: ObjectCache,
    tier: Tier,
) -> None:
    """Hands names to one compiler process and stores what comes back."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("NUMBA_")},
        "NUMBA_CPU_NAME": tier.llvm_cpu,
        "NUMBA_CPU_FEATURES": tier.llvm_features,
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }
    command = [sys.executable, "-P", "-m", "qrt.kernels.compiler", tier.name]
    command += [tier.triple] if tier.triple else []
    try:
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the parent; its end closes standard input
        ) as compiler:
            while True:
                try:
                    name = todo.get_nowait()
                except Empty:
                    break
                symbol, code = _compile_in(compiler, name)
                cache.write(name, symbol, code)
                done.put(name)
            compiler.stdin.close()  # type: ignore[union-attr]
    except (BrokenPipeError, EOFError):
        why = "the compiler process died; try QRT_ISA=generic"
        done.put(BackendError(f"kernel {name}: {why}"))
    except BaseException as error:
        done.put(error)


def _compile_in(compiler: subprocess.Popen[bytes], name: str) -> tuple[str, bytes]:
    """(symbol, code). Raises BrokenPipeError or EOFError where the process is no more."""
    assert compiler.stdin is not None
    assert compiler.stdout is not None
    compiler.stdin.write(f"{name}\n".encode())
    compiler.stdin.flush()
    answer = compiler.stdout.readline().decode().strip().split(maxsplit=2)
    if len(answer) != 3:
        raise EOFError
    _, symbol, size = answer
    if symbol == "!":
        raise BackendError(f"kernel {name}: {size}")
    code = compiler.stdout.read(int(size))
    if len(code) != int(size):
        raise EOFError
    return symbol, code


class Library:
    """Loaded kernels: `address(name)`. Keeps the machine code alive."""

    def __init__(self, objects: Entries) -> None:
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
        self._engine: Any = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        self.unusable: list[str] = []
        """Kernels whose object is not one, or does not have the symbol that it should."""
        for name, (_, code) in objects.items():
            parsed = llvm.ObjectFileRef.from_data(code)
            if parsed:  # otherwise a null pointer, which LLVM would follow
                self._engine.add_object_file(parsed)
            else:
                self.unusable.append(name)
        self._engine.finalize_object()
        self._addresses: dict[str, int] = {
            name: self._engine.get_function_address(symbol)
            for name, (symbol, _) in objects.items()
            if name not in self.unusable
        }
        self.unusable += [name for name, address in self._addresses.items() if not address]

    def address(self, name: str) -> int:
        """The address of kernel `name`."""
        return self._addresses[name]


def load_kernels(
    names: Sequence[str],
    tier: Tier,
    directory: Path,
    n_compilers: Callable[[], int],
    progress: Progress,
) -> Library:
    """Loads kernels from the cache under `directory`, compiling those that are not there, as many
    at a time as `n_compilers` says then.
    """
    cache = ObjectCache(directory / cache_key(tier))
    if os.path.lexists(cache.directory):
        check_private(cache.directory)
    for takes_shipped in (True, False):  # what cannot be used is compiled again, once
        library = Library(_objects(names, cache, tier, n_compilers, progress, takes_shipped))
        if not library.unusable:
            return library
        for name in library.unusable:
            cache.forget(name)
    which = ", ".join(library.unusable[:5])
    raise BackendError(f"compiled kernels cannot be loaded: {which}; try QRT_ISA=generic")


def _objects(
    names: Sequence[str],
    cache: ObjectCache,
    tier: Tier,
    n_compilers: Callable[[], int],
    progress: Progress,
    takes_shipped: bool,
) -> Entries:
    """(symbol, code) of every kernel, from the cache, the package, or compiled into the cache."""
    found = {name: cache.read(name) for name in dict.fromkeys(names)}
    missing = [name for name, entry in found.items() if entry is None]
    if missing and takes_shipped:
        shipped = shipped_entries(tier, missing)
        found |= shipped
        for name, entry in shipped.items():
            with suppress(OSError):  # then it is taken from the package each time
                cache.write(name, *entry)
        missing = [name for name in missing if name not in shipped]
    if missing:
        compile_missing(missing, cache, tier, n_compilers(), progress)
        found |= {name: cache.read(name) for name in missing}
    objects = {name: entry for name, entry in found.items() if entry is not None}
    if len(objects) != len(found):
        raise BackendError(f"cannot keep compiled kernels in {cache.directory}: set QRT_CACHE_DIR")
    return objects
