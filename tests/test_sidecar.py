"""Packed weights kept in a file: the same bits, and never the wrong file."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from sidecars import flipped, run
from test_gguf_files import write_shards
from typer.testing import CliRunner

import qrt
from qrt.backends.cpu import mapped, sidecar
from qrt.backends.cpu.guard import guard_kernels
from qrt.cli.app import app
from qrt.config import embedded_model
from qrt.errors import BackendError, ModelError
from qrt.formats.gguf import open_gguf

pytestmark = pytest.mark.usefixtures("lab")


@pytest.mark.parametrize(
    "name", ["quant/llama-Q4_K", "quant/llama-Q5_0", "arch/qwen2-dense", "arch/llama-dense"]
)
def test_mapped_weights_give_the_same_bits(
    data: Path, kept: Path, packed: list[str], name: str
) -> None:
    first = run(data / f"{name}.gguf", pack=False)
    assert run(data / f"{name}.gguf") == first
    assert packed
    packed.clear()
    assert run(data / f"{name}.gguf") == first
    assert not packed
    (file,) = kept.iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_it_is_made_when_asked_for_and_used_when_there(
    model_file: Path, kept: Path, packed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QRT_PACK_CACHE")
    first = run(model_file)
    assert not kept.exists()
    assert CliRunner().invoke(app, ["pack", str(model_file)]).exit_code == 0
    packed.clear()
    assert run(model_file) == first
    assert not packed
    monkeypatch.setenv("QRT_PACK_CACHE", "0")
    assert run(model_file) == first
    assert packed


def longer(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0")


def other_header(path: Path) -> None:
    """Another name for the model: size and time of change stay."""
    before, data = path.stat(), bytearray(path.read_bytes())
    at = data.index(b"general.name") + 12 + 4 + 8
    data[at] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def a_nanosecond_later(path: Path) -> None:
    info = path.stat()
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns + 1))


@pytest.mark.parametrize("change", [longer, other_header, a_nanosecond_later])
@pytest.mark.parametrize("env", ["", "1"])
def test_a_changed_model_is_packed_again(
    model_file: Path,
    kept: Path,
    packed: list[str],
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None],
    env: str,
) -> None:
    first = run(model_file)
    (stale,) = kept.iterdir()
    old = stale.read_bytes()
    monkeypatch.setenv("QRT_PACK_CACHE", env)
    packed.clear()
    change(model_file)
    assert run(model_file) == first
    assert packed
    assert [*kept.iterdir()] == [stale]
    assert stale.read_bytes()[48:] == old[48:]
    assert stale.read_bytes()[:48] != old[:48]


def test_another_layout_is_packed_again(
    model_file: Path, kept: Path, packed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(model_file)
    assert len([*kept.iterdir()]) == 1
    packed.clear()
    monkeypatch.setattr(sidecar, "source_digest", lambda: b"another version of the kernels")
    assert run(model_file) == first
    assert packed


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda data: data[:-1],
    "cut to its head": lambda data: data[:48],
    "empty": lambda _: b"",
    "longer": lambda data: data + b"\0",
    "wrong magic": lambda data: b"Q" + data[1:],
    "wrong digest": lambda data: data[:47] + bytes([data[47] ^ 1]) + data[48:],
    "another program's": lambda _: b"#!/bin/sh\n" * 1000,
}
INNER_DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "a bit of a weight": lambda data: flipped(data, len(data) // 2),
    "byte 5000": lambda data: flipped(data, 5000),
    "the last weight": lambda data: flipped(data, len(data) - 4096),
    "a checksum": lambda data: flipped(data, 50),
    "zeros past 4096": lambda data: data[:4096] + bytes(len(data) - 4096),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_replaced(
    model_file: Path, kept: Path, packed: list[str], damage: str
) -> None:
    first = run(model_file)
    (file,) = kept.iterdir()
    whole = file.read_bytes()
    file.unlink()
    file.write_bytes(DAMAGE[damage](whole))
    packed.clear()
    assert run(model_file) == first
    assert packed
    assert file.read_bytes() == whole


@pytest.mark.parametrize("is_mapped", [True, False])
@pytest.mark.parametrize("damage", INNER_DAMAGE)
def test_damage_within_gives_no_logits(
    model_file: Path,
    kept: Path,
    packed: list[str],
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
    is_mapped: bool,
) -> None:
    first = run(model_file)
    (file,) = kept.iterdir()
    whole = file.read_bytes()
    file.write_bytes(INNER_DAMAGE[damage](whole))
    if is_mapped and guard_kernels():
        with pytest.raises(ModelError, match="the packed weights changed while"):
            run(model_file)
        assert not file.exists()
    else:
        monkeypatch.setattr(mapped, "guard_kernels", lambda: ())
    packed.clear()
    assert run(model_file) == first
    assert packed
    assert file.read_bytes() == whole


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_what_is_no_file_is_replaced(
    model_file: Path, kept: Path, make: Callable[[Path], None]
) -> None:
    first = run(model_file)
    (file,) = kept.iterdir()
    file.unlink()
    make(file)
    assert run(model_file) == first
    assert file.is_file()
    assert not file.is_symlink()


def test_it_is_on_the_disk_before_it_has_its_name(
    model_file: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, bool]] = []

    def spy(number: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(number).st_mode)
        seen.append((is_folder, any(path.suffix == ".panels" for path in kept.iterdir())))

    monkeypatch.setattr(os, "fsync", spy)
    run(model_file)
    assert seen == [(False, False), (True, True)]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_a_folder_that_others_can_write_is_refused(model_file: Path, kept: Path) -> None:
    run(model_file)
    kept.chmod(0o770)
    with pytest.raises(BackendError, match="packed may be written by others"):
        run(model_file)


def test_without_room_a_start_goes_on_and_says_so(
    model_file: Path, kept: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setenv("QRT_PACK_CACHE", "0")
    first = run(model_file)
    monkeypatch.setenv("QRT_PACK_CACHE", "1")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limit[1]))
    try:
        with caplog.at_level(logging.WARNING, "qrt"):
            assert run(model_file) == first
        result = CliRunner().invoke(app, ["pack", str(model_file)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    (record,) = caplog.records
    assert "cannot keep" in record.message
    assert "\n" not in record.message
    assert result.exit_code == 3
    assert result.stderr.startswith("error: cannot keep")
    assert not [*kept.iterdir()]


def test_a_full_disk_is_seen_before_anything_is_packed(
    model_file: Path, kept: Path, packed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    result = CliRunner().invoke(app, ["pack", str(model_file)])
    assert result.exit_code == 3
    assert result.stderr.startswith("error: cannot keep")
    assert "No space left" in result.stderr
    assert not packed
    assert not [*kept.iterdir()]


def test_every_shard_counts(tmp_path: Path) -> None:
    paths = write_shards(tmp_path)
    before = open_gguf(paths[0]).fingerprint()
    assert open_gguf(paths[0]).fingerprint() == before
    for path in paths:
        a_nanosecond_later(path)
        after = open_gguf(paths[0]).fingerprint()
        assert after != before
        before = after


def test_pack_prints_where_and_remove_deletes(model_file: Path, kept: Path) -> None:
    def invoke(*args: str) -> str:
        result = CliRunner().invoke(app, ["pack", *args])
        assert (result.exit_code, result.stderr) == (0, "")
        return result.stdout

    made = invoke(str(model_file))
    (file,) = kept.iterdir()
    assert made.startswith(f"{file}: ")
    model_file.unlink()
    assert invoke("--remove", str(model_file)) == f"deleted {file}\n"
    assert not [*kept.iterdir()]
    assert invoke(str(model_file), "--remove") == "nothing was kept\n"


def test_it_is_written_in_parts_of_any_size(
    data: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of 64 KiB end within panels of tables and matrices."""
    path = data / "arch" / "llama-dense.gguf"
    written = []
    for at_once in (1 << 25, 1 << 16):
        monkeypatch.setattr(sidecar, "_AT_ONCE", at_once)
        run(path)
        (file,) = kept.iterdir()
        written.append(file.read_bytes())
        assert CliRunner().invoke(app, ["pack", str(path), "--check"]).exit_code == 0
        file.unlink()
    assert written[0] == written[1]
    assert len(written[0]) > 4 << 16


def test_the_parts_of_a_model_share_one_file(tmp_path: Path, kept: Path, packed: list[str]) -> None:
    path = Path(shutil.copy2(embedded_model(), tmp_path / "m.gguf"))

    def logits() -> list[int]:
        with qrt.load(path, layers={"1": "reference"}, n_ctx=64, n_threads=2) as cut:
            return cut.generate([1, 2, 3], max_tokens=4, temperature=0).tokens

    first = logits()
    assert packed
    assert len([*kept.iterdir()]) == 1
    packed.clear()
    assert logits() == first
    assert not packed
