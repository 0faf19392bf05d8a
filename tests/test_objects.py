"""The cache of compiled kernels: compiled once, damage repaired, numba kept out of the process."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from kernels import BEST

from qrt.errors import BackendError
from qrt.kernels import entries, objects
from qrt.kernels.isa import TIERS, choose
from qrt.kernels.objects import ObjectCache, cache_key, load_kernels

Event = tuple[str, int, int]
TIER = TIERS[BEST]


def load(names: Sequence[str], directory: Path, n_compilers: int = 2) -> list[Event]:
    """Loads kernels; the progress that was told."""
    events: list[Event] = []
    library = load_kernels(names, TIER, directory, lambda: n_compilers, lambda *e: events.append(e))
    assert all(library.address(name) for name in names)
    return events


def test_damaged_entries_are_compiled_again(tmp_path: Path) -> None:
    what = "compiling kernels for your CPU"
    names = ("add", "select", "run", "work")
    # by one compiler: a symbol tells the how manieth it is of its process
    assert load(names, tmp_path, 1) == [(what, done, 4) for done in range(5)]
    assert load(names, tmp_path) == []
    folder = tmp_path / cache_key(TIER)
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{n}.o" for n in names)
    assert folder.stat().st_mode & 0o777 == 0o700
    whole = {name: (folder / f"{name}.o").read_bytes() for name in names}
    flipped = bytearray(whole["select"])
    flipped[-100] ^= 1
    (folder / "add.o").write_bytes(whole["add"][:-50])
    (folder / "select.o").write_bytes(flipped)
    (folder / "run.o").write_bytes(b"")
    assert load(names, tmp_path, 1) == [(what, done, 3) for done in range(4)]
    assert {name: (folder / f"{name}.o").read_bytes() for name in names} == whole


def test_a_damaged_entry_is_deleted(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path / "tier")
    assert cache.read("kernel") is None
    cache.write("kernel", "symbol", b"\x7fELF\n\0code")
    assert cache.read("kernel") == ("symbol", b"\x7fELF\n\0code")
    path = tmp_path / "tier" / "kernel.o"
    path.write_bytes(path.read_bytes() + b"\0")
    assert cache.read("kernel") is None
    assert not path.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nonsense", "ModuleNotFoundError: No module named 'qrt.kernels.nonsense'"),
        ("matmul.Q9_9.1", "KeyError: 'Q9_9'"),
    ],
)
def test_a_kernel_that_does_not_compile(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(BackendError) as failure:
        load((name,), tmp_path)
    assert str(failure.value) == f"kernel {name}: {message}"


def test_a_compiler_that_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dies = tmp_path / "python"
    dies.write_text("#!/bin/sh\nexit 3\n")
    dies.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(dies))
    with pytest.raises(BackendError, match="kernel add: the compiler process died"):
        load(("add",), tmp_path)


def entry(symbol: bytes, code: bytes) -> bytes:
    rest = symbol + b"\n" + code
    return hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest


def test_wrong_contents_with_a_right_checksum_are_compiled_again(tmp_path: Path) -> None:
    what, names = "compiling kernels for your CPU", ("add", "select", "run", "work")
    load(names, tmp_path)
    folder = tmp_path / cache_key(TIER)
    whole = {name: (folder / f"{name}.o").read_bytes() for name in names}
    _, symbol, code = whole["add"].split(b"\n", 2)
    (folder / "add.o").write_bytes(entry(b"no_such_symbol", code))
    (folder / "select.o").write_bytes(entry("sämbol".encode("latin-1"), code))
    (folder / "run.o").write_bytes(entry(symbol, b"no object"))
    (folder / "work.o").write_bytes(entry(symbol, b""))
    events = load(names, tmp_path)
    assert events[0] == (what, 0, 1)
    assert events[-1] == (what, 3, 3)
    assert load(names, tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_a_folder_of_code_that_others_can_write_is_refused(tmp_path: Path) -> None:
    load(("add",), tmp_path)
    (tmp_path / cache_key(TIER)).chmod(0o777)
    with pytest.raises(BackendError, match="may be written by others"):
        load(("add",), tmp_path)


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / cache_key(TIER)).write_text("a file in its place")
    with pytest.raises(BackendError, match=r"is a link or a file, not a dir.*QRT_CACHE_DIR"):
        load(("add",), tmp_path)


def test_the_key_follows_sources_tier_and_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {cache_key(tier) for tier in TIERS.values()}
    assert len(keys) == len(TIERS)
    before = cache_key(TIER)
    shutil.copytree(Path(entries.__file__).parent, tmp_path / "kernels")
    monkeypatch.setattr(entries, "__file__", str(tmp_path / "kernels" / "entries.py"))
    assert cache_key(TIER) == before
    source = tmp_path / "kernels" / "blocks" / "q4_0.py"
    source.write_text(source.read_text() + "\n")
    changed = cache_key(TIER)
    assert changed != before
    monkeypatch.setattr(objects, "version", lambda name: f"{name} of tomorrow")
    assert cache_key(TIER) not in (before, changed)


def test_an_unknown_tier_is_named() -> None:
    with pytest.raises(BackendError, match="QRT_ISA=mmx: no such tier; choose from generic, "):
        choose("mmx")


STEP = """
import json, sys
import numpy as np
from qrt.backends.base import Settings
from qrt.backends.cpu import prepare
from qrt.formats.qtensor import QTensor
from qrt.formats.quants import QTYPES
from qrt.graph.batch import Batch, Segment
from qrt.graph.builder import GraphBuilder
from qrt.graph.ops.embed import Embed
from qrt.graph.ops.linear import Linear
from qrt.graph.ops.select import Select

graph = GraphBuilder()
x = graph.append(Select("s", graph.append(Embed("x", "table", 8, 32))))
graph.append(Linear("logits", x, "table", 8))
raw = np.arange(8 * 32, dtype="<f4").view(np.uint8)
tensors = {"table": QTensor("table", QTYPES["F32"], (8, 32), raw)}
events = []
built = graph.build("tiny", n_ctx_train=8, dim=32)
settings = Settings(2, (), 4, "f16", 8)
model = prepare(built, tensors, settings, lambda *event: events.append(event))
one = np.zeros(1, np.int32)
logits = model.step(Batch((Segment(one + 3, 0, (), one),)))
model.close()
compiled = sum(what.startswith("compiling") for what, _, _ in events)
print(json.dumps([compiled, "numba" in sys.modules, float(logits[0, 2])]))
"""


def test_numba_stays_out_of_the_process(tmp_path: Path) -> None:
    """In a first process that compiles and in a second; files beside the user are no modules."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "numba.py").write_text("raise SystemExit('not this one')")
    path = os.pathsep.join(entry for entry in sys.path if entry)
    cache = tmp_path / "cache"
    environment = {**os.environ, "PYTHONPATH": path, "QRT_CACHE_DIR": str(cache)}
    answers = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-P", "-c", STEP],
            cwd=work,
            env={**environment, "NUMBA_DISABLE_JIT": "1"},  # is not for our compilers
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.stderr == ""
        answers.append(json.loads(done.stdout))
    table = [[float(32 * row + i) for i in range(32)] for row in (3, 2)]
    product = sum(a * b for a, b in zip(*table, strict=True))
    assert answers[0][0] > 1
    assert answers[0][1:] == [False, pytest.approx(product)]
    assert answers[1] == [0, False, pytest.approx(product)]
