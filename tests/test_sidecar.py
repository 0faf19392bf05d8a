"""Packed weights kept in a file: the same bits, and never the wrong file."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from oracles import TOKENS
from steps import prepare, segment, step
from test_gguf_files import write_shards
from typer.testing import CliRunner

import qrt
from qrt.arch import build_graph
from qrt.backends import cpu
from qrt.backends.base import Room
from qrt.backends.cpu import keeping, mapped, sidecar, weights
from qrt.backends.cpu.guard import guard_kernels
from qrt.backends.cpu.packing import Panels
from qrt.backends.cpu.profile import StepClock
from qrt.cli.app import app
from qrt.config import cache_dir, embedded_model
from qrt.errors import BackendError, ModelError
from qrt.formats.gguf import open_gguf
from qrt.progress import no_progress

pytestmark = pytest.mark.usefixtures("lab")


@pytest.fixture
def model(data: Path, tmp_path: Path) -> Path:
    """A model file that a test may change."""
    return Path(shutil.copy2(data / "quant" / "llama-Q4_K.gguf", tmp_path / "m.gguf"))


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of packed weights, not there yet; every start keeps them."""
    load = keeping.load_kernels
    monkeypatch.setattr(keeping, "cache_dir", lambda _: tmp_path)
    monkeypatch.setattr(
        keeping, "load_kernels", lambda names, tier, _, *rest: load(names, tier, cache_dir(), *rest)
    )
    monkeypatch.setenv("QRT_PACK_CACHE", "1")
    return tmp_path / "packed"


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the weights that were packed, not mapped."""
    names: list[str] = []
    make = Panels.make

    def spy(self, *args):
        names.append(self._tensor.name)
        make(self, *args)

    monkeypatch.setattr(Panels, "make", spy)
    return names


def run(path: Path, **settings: Any) -> bytes:
    """Starts a model and runs one step."""
    file = open_gguf(path)
    graph = build_graph(file.metadata, file.tensors, str(path))
    with closing(prepare(cpu, (graph, file.tensors), file=file, **settings)) as model:
        return step(model, segment(TOKENS)).tobytes()


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
    model: Path, kept: Path, packed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QRT_PACK_CACHE")
    first = run(model)
    assert not kept.exists()
    assert CliRunner().invoke(app, ["pack", str(model)]).exit_code == 0
    packed.clear()
    assert run(model) == first
    assert not packed
    monkeypatch.setenv("QRT_PACK_CACHE", "0")
    assert run(model) == first
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
    model: Path,
    kept: Path,
    packed: list[str],
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None],
    env: str,
) -> None:
    first = run(model)
    (stale,) = kept.iterdir()
    old = stale.read_bytes()
    monkeypatch.setenv("QRT_PACK_CACHE", env)
    packed.clear()
    change(model)
    assert run(model) == first
    assert packed
    assert [*kept.iterdir()] == [stale]
    assert stale.read_bytes()[48:] == old[48:]
    assert stale.read_bytes()[:48] != old[:48]


def test_another_layout_is_packed_again(
    model: Path, kept: Path, packed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(model)
    assert len([*kept.iterdir()]) == 1
    packed.clear()
    monkeypatch.setattr(sidecar, "source_digest", lambda: b"another version of the kernels")
    assert run(model) == first
    assert packed


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :]


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
    model: Path, kept: Path, packed: list[str], damage: str
) -> None:
    first = run(model)
    (file,) = kept.iterdir()
    whole = file.read_bytes()
    file.unlink()
    file.write_bytes(DAMAGE[damage](whole))
    packed.clear()
    assert run(model) == first
    assert packed
    assert file.read_bytes() == whole


@pytest.mark.parametrize("is_mapped", [True, False])
@pytest.mark.parametrize("damage", INNER_DAMAGE)
def test_damage_within_gives_no_logits(
    model: Path,
    kept: Path,
    packed: list[str],
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
    is_mapped: bool,
) -> None:
    first = run(model)
    (file,) = kept.iterdir()
    whole = file.read_bytes()
    file.write_bytes(INNER_DAMAGE[damage](whole))
    if is_mapped and guard_kernels():
        with pytest.raises(ModelError, match="the packed weights changed while"):
            run(model)
        assert not file.exists()
    else:
        monkeypatch.setattr(mapped, "guard_kernels", lambda: ())
    packed.clear()
    assert run(model) == first
    assert packed
    assert file.read_bytes() == whole


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_what_is_no_file_is_replaced(model: Path, kept: Path, make: Callable[[Path], None]) -> None:
    first = run(model)
    (file,) = kept.iterdir()
    file.unlink()
    make(file)
    assert run(model) == first
    assert file.is_file()
    assert not file.is_symlink()


def test_it_is_on_the_disk_before_it_has_its_name(
    model: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, bool]] = []

    def spy(number: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(number).st_mode)
        seen.append((is_folder, any(path.suffix == ".panels" for path in kept.iterdir())))

    monkeypatch.setattr(os, "fsync", spy)
    run(model)
    assert seen == [(False, False), (True, True)]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_a_folder_that_others_can_write_is_refused(model: Path, kept: Path) -> None:
    run(model)
    kept.chmod(0o770)
    with pytest.raises(BackendError, match="packed may be written by others"):
        run(model)


def test_without_room_a_start_goes_on_and_says_so(
    model: Path, kept: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setenv("QRT_PACK_CACHE", "0")
    first = run(model)
    monkeypatch.setenv("QRT_PACK_CACHE", "1")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limit[1]))
    try:
        with caplog.at_level(logging.WARNING, "qrt"):
            assert run(model) == first
        result = CliRunner().invoke(app, ["pack", str(model)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    (record,) = caplog.records
    assert "cannot keep" in record.message
    assert "\n" not in record.message
    assert result.exit_code == 3
    assert result.stderr.startswith("error: cannot keep")
    assert not [*kept.iterdir()]


def test_a_full_disk_is_seen_before_anything_is_packed(
    model: Path, kept: Path, packed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    result = CliRunner().invoke(app, ["pack", str(model)])
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


def test_pack_prints_where_and_remove_deletes(model: Path, kept: Path) -> None:
    def invoke(*args: str) -> str:
        result = CliRunner().invoke(app, ["pack", *args])
        assert (result.exit_code, result.stderr) == (0, "")
        return result.stdout

    made = invoke(str(model))
    (file,) = kept.iterdir()
    assert made.startswith(f"{file}: ")
    model.unlink()
    assert invoke("--remove", str(model)) == f"deleted {file}\n"
    assert not [*kept.iterdir()]
    assert invoke(str(model), "--remove") == "nothing was kept\n"


ROOM = Room(0, "left of nothing")
needs_guard = pytest.mark.skipif(not guard_kernels(), reason="nothing is mapped")


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


@needs_guard
@pytest.mark.parametrize("n_held", [0, 3])
def test_weights_without_room_are_read_from_the_file(
    model: Path,
    kept: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    n_held: int,
) -> None:
    first = run(model, pack=False)
    file = open_gguf(model)
    graph = build_graph(file.metadata, file.tensors, str(model))
    sizes = weights.matrix_bytes(graph, file.tensors)
    largest = sorted((size for name, size in sizes.items() if name != "token_embd.weight"))
    room = Room(keeping._FOR_PAGES + sum(largest[::-1][:n_held]), "left")
    where = keeping.split(graph, sizes, room)
    assert len(where.held) == n_held
    assert len(where.staged) > 3
    for _ in range(2):  # packed, then found
        with caplog.at_level(logging.WARNING, "qrt"):
            assert run(model, room=room) == first
        assert "each token reads about" in caplog.messages[-1]
    assert len([*kept.iterdir()]) == 1
    monkeypatch.delenv("QRT_PACK_CACHE")
    assert run(model, room=room) == first


@needs_guard
def test_experts_stay_mapped(data: Path, kept: Path) -> None:
    """The system keeps those that are chosen; what every token reads is held or staged."""
    path = data / "arch" / "llama-moe.gguf"
    file = open_gguf(path)
    graph = build_graph(file.metadata, file.tensors, str(path))
    sizes = weights.matrix_bytes(graph, file.tensors)
    experts = {name for name in sizes if "_exps" in name}
    for room in (ROOM, Room(1 << 40, "left")):
        where = keeping.split(graph, sizes, room)
        elsewhere = {*where.held, *where.staged}
        assert experts
        assert elsewhere == sizes.keys() - experts - {"token_embd.weight"}
        assert run(path, room=room) == run(path, pack=False)
    assert len([*kept.iterdir()]) == 1


@needs_guard
def test_steps_that_wait_for_the_disk_have_no_profile(model: Path, kept: Path) -> None:
    file = open_gguf(model)
    graph = build_graph(file.metadata, file.tensors, str(model))
    with closing(prepare(cpu, (graph, file.tensors), file=file, room=ROOM)) as executor:
        assert len([*kept.iterdir()]) == 1
        with pytest.raises(BackendError, match="do not fit into memory"):
            StepClock(executor, no_progress)


def test_weights_without_room_that_are_not_kept_are_an_error(
    model: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("", "0"):
        monkeypatch.setenv("QRT_PACK_CACHE", variable)
        with pytest.raises(BackendError, match=r"packed weights need 0\.00 GB, there are") as error:
            run(model, room=ROOM)
        message = str(error.value)
        assert message.startswith(f"{model}: ")
        assert "\n" not in message
        for part in ("left of nothing", "--pack", "pack=True", "`qrt pack`", str(kept)):
            assert part in message
    assert not kept.exists()


@needs_guard
def test_a_check_finds_damage_of_tables_too(model: Path, kept: Path) -> None:
    def check() -> tuple[int, str]:
        result = CliRunner().invoke(app, ["pack", "--check", str(model)])
        return result.exit_code, result.stdout + result.stderr

    code, said = check()
    assert (code, said) == (3, f"error: {model}: nothing is kept of it; `qrt pack` does\n")
    run(model)
    (file,) = kept.iterdir()
    code, said = check()
    assert code == 0
    assert said.startswith(f"{file}: ")
    assert "as it was written" in said
    whole = file.read_bytes()
    first = run(model, pack=False)
    file.write_bytes(flipped(whole, len(whole) - 4096))
    assert run(model, room=ROOM) == first
    code, said = check()
    assert (code, said[:7]) == (3, "error: ")
    assert "is damaged" in said


@needs_guard
def test_damage_of_what_is_read_again_and_again_is_found(model: Path, kept: Path) -> None:
    first = run(model)
    (file,) = kept.iterdir()
    whole = file.read_bytes()
    file.write_bytes(flipped(whole, len(whole) // 2))
    with pytest.raises(ModelError, match="the packed weights changed while"):
        run(model, room=ROOM)
    assert not file.exists()
    file.write_bytes(flipped(whole, len(whole) // 2))
    assert run(model, room=Room(1 << 40, "left")) == first  # held in memory: packed again
    assert file.read_bytes() == whole


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
