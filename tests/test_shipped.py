"""Object code that a wheel brings: taken where it fits, compiled where it is not, or damaged."""

from __future__ import annotations

import lzma
import shutil
import sys
from importlib import import_module
from pathlib import Path

import pytest
from kernels import BEST
from objects import SHIPPED, TRIPLES, archive, kernels_of
from test_objects import TIER, entry, load
from tiny_models import write_tiny

import qrt
from qrt.backends.cpu.tiers import is_shipped
from qrt.config import read_env
from qrt.kernels import shipped
from qrt.kernels.isa import TIERS, choose
from qrt.kernels.objects import ObjectCache, cache_key, compile_missing
from qrt.kernels.shipped import archive_name, shipped_entries

NAMES = ("add", "select", "run", "work")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> ObjectCache:
    """A cache that holds NAMES."""
    cache = ObjectCache(tmp_path_factory.mktemp("kept") / "tier")
    compile_missing(list(NAMES), cache, TIER, 2, lambda *_: None)
    return cache


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the package looks for archives."""
    path = tmp_path / "objects"
    path.mkdir()
    monkeypatch.setattr(shipped, "FOLDER", path)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="archives are of ELF objects")
def test_what_came_with_the_package_is_not_compiled(
    compiled: ObjectCache, folder: Path, tmp_path: Path
) -> None:
    assert not is_shipped(BEST)
    (folder / archive_name(TIER)).write_bytes(archive(compiled, list(NAMES[:3])))
    assert is_shipped(BEST)
    what = "compiling kernels for your CPU"
    assert load(NAMES, tmp_path) == [(what, 0, 1), (what, 1, 1)]
    assert load(NAMES, tmp_path) == []
    kept = ObjectCache(tmp_path / cache_key(TIER))
    assert [kept.read(name) for name in NAMES[:3]] == [compiled.read(name) for name in NAMES[:3]]


def test_damage_costs_the_compiler_no_more(
    compiled: ObjectCache, folder: Path, tmp_path: Path
) -> None:
    whole = archive(compiled, list(NAMES))
    path = folder / archive_name(TIER)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged in (b"", b"no archive", whole[:-9], bytes(flipped), lzma.compress(b"no tar" * 99)):
        path.write_bytes(damaged)
        assert shipped_entries(TIER, NAMES) == {}
    assert load(NAMES, tmp_path)[-1][1:] == (4, 4)


def test_entries_that_do_not_fit_are_compiled(
    compiled: ObjectCache, folder: Path, tmp_path: Path
) -> None:
    """One with a wrong checksum, one whose code has another symbol."""
    broken = shutil.copytree(compiled.directory, tmp_path / "broken")
    (broken / "add.o").write_bytes(entry(b"symbol", b"\x7fELF")[:-1])
    path = folder / archive_name(TIER)
    with pytest.raises(SystemExit, match="add cannot be shipped"):
        archive(ObjectCache(broken), list(NAMES))
    _, code = compiled.read("select")  # type: ignore[misc]
    (broken / "add.o").write_bytes(entry(b"no_such_symbol", code))
    path.write_bytes(archive(ObjectCache(broken), list(NAMES)))
    assert load(NAMES, tmp_path)[-1][1:] == (1, 1)


def test_an_archive_is_of_one_source_tier_and_system(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {archive_name(tier, system) for tier in TIERS.values() for system in ("linux", "win32")}
    assert len(names) == 2 * len(TIERS)
    monkeypatch.setattr(shipped, "source_digest", lambda: b"another version of the kernels")
    assert not names & {archive_name(tier, "linux") for tier in TIERS.values()}


def test_shipped_tiers_are_chosen_unasked() -> None:
    assert all(TIERS[name].machine in TRIPLES for name in SHIPPED)


@pytest.mark.parametrize("name", ["", "llama", "qwen3", "gemma3", "phi3", "qwen3moe", "gpt-oss"])
def test_archives_have_the_kernels_of_common_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    class Asked(Exception):  # noqa: N818
        pass

    def ask(names: list[str], *_: object) -> None:
        raise Asked(*names)

    path = tmp_path / "model.gguf"
    if name:
        write_tiny(name, path)
    monkeypatch.setattr(import_module("qrt.backends.cpu.prepare"), "load_kernels", ask)
    with pytest.raises(Asked) as asked:
        qrt.load(path if name else None)
    needed = {kernel.replace("F32", "Q8_0") for kernel in asked.value.args}
    assert not needed - {*kernels_of(choose(read_env().isa))}
