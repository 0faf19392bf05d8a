"""Weights that have no room: the same bits from the file, its experts asked for early."""

from __future__ import annotations

import ctypes
import logging
import mmap
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from kernels import Lab
from sidecars import flipped, needs_guard, run
from steps import prepare
from typer.testing import CliRunner

from qrt.arch import build_graph
from qrt.backends import cpu
from qrt.backends.base import Room
from qrt.backends.cpu import keeping, paging, weights
from qrt.backends.cpu.mapped import Mapped
from qrt.backends.cpu.profile import StepClock
from qrt.cli.app import app
from qrt.errors import BackendError, ModelError
from qrt.formats.gguf import open_gguf
from qrt.kernels import layout
from qrt.progress import no_progress

pytestmark = pytest.mark.usefixtures("lab")

ROOM = Room(0, "left of nothing")


@needs_guard
@pytest.mark.parametrize("n_held", [0, 3])
def test_weights_without_room_are_read_from_the_file(
    model_file: Path,
    kept: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    n_held: int,
) -> None:
    first = run(model_file, pack=False)
    file = open_gguf(model_file)
    graph = build_graph(file.metadata, file.tensors, str(model_file))
    sizes = weights.matrix_bytes(graph, file.tensors)
    largest = sorted((size for name, size in sizes.items() if name != "token_embd.weight"))
    room = Room(keeping._FOR_PAGES + sum(largest[::-1][:n_held]), "left")
    where = keeping.split(graph, sizes, room)
    assert len(where.held) == n_held
    assert len(where.staged) > 3
    for _ in range(2):  # packed, then found
        with caplog.at_level(logging.WARNING, "qrt"):
            assert run(model_file, room=room) == first
        assert "each token reads about" in caplog.messages[-1]
    assert len([*kept.iterdir()]) == 1
    monkeypatch.delenv("QRT_PACK_CACHE")
    assert run(model_file, room=room) == first


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


class Advice:
    """What the system was asked for, in place of its madvise."""

    def __init__(self) -> None:
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int)
        self._function = kind(self._note)
        self.address = ctypes.cast(self._function, ctypes.c_void_p).value
        self.ranges: list[tuple[int, int]] = []

    def _note(self, start: int, n_bytes: int, advice: int) -> int:
        assert advice == mmap.MADV_WILLNEED
        self.ranges.append((start, start + n_bytes))
        return 0


def test_pages_of_chosen_experts_are_asked_for(lab: Lab) -> None:
    page, size, base, most = 4096, 10_000, 1 << 40, 2
    routing = np.zeros(layout.routing_parts(8)[2] // 8, np.int64)
    routing[layout.ROUTING.n_active // 8] = 3
    for i, expert in enumerate((2, 5, 7)):
        routing[(layout.ROUTING.size + i * layout.ACTIVE.size) // 8] = expert
    advice = Advice()
    fields = {"madvise": advice.address, "weights": base, "n_bytes": size, "page": page}
    args = lab.record(layout.PAGE_IN, **fields, routing=lab.put(routing), most=most)
    lab.run([("page_in", args)], [])
    wanted = {(base + e * size - e * size % page, base + (e + 1) * size) for e in (2, 5)}
    assert {*advice.ranges} == wanted
    assert len(advice.ranges) == len(wanted) * len(lab.teams)


@needs_guard
@pytest.mark.usefixtures("kept")
def test_experts_are_asked_for_behind_their_router(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advice, maps = Advice(), []
    monkeypatch.setattr(paging, "adviser", lambda: advice.address)
    opened = Mapped.open
    monkeypatch.setattr(Mapped, "open", lambda *args: maps.append(opened(*args)) or maps[-1])
    path = data / "arch" / "llama-moe.gguf"
    run(path, room=Room(1 << 30, "left"))
    n_layers = open_gguf(path).metadata["llama.block_count"]
    start = maps[-1].data.ctypes.data
    assert len(advice.ranges) >= 3 * n_layers  # as many as rows chose, of gate, up and down
    assert all(start <= a < b <= start + maps[-1].data.size for a, b in advice.ranges)
    assert all(a % mmap.PAGESIZE == 0 for a, b in advice.ranges)


@needs_guard
def test_steps_that_wait_for_the_disk_have_no_profile(model_file: Path, kept: Path) -> None:
    file = open_gguf(model_file)
    graph = build_graph(file.metadata, file.tensors, str(model_file))
    with closing(prepare(cpu, (graph, file.tensors), file=file, room=ROOM)) as executor:
        assert len([*kept.iterdir()]) == 1
        with pytest.raises(BackendError, match="do not fit into memory"):
            StepClock(executor, no_progress)


def test_weights_without_room_that_are_not_kept_are_an_error(
    model_file: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("", "0"):
        monkeypatch.setenv("QRT_PACK_CACHE", variable)
        with pytest.raises(BackendError, match=r"packed weights need 0\.00 GB, there are") as error:
            run(model_file, room=ROOM)
        message = str(error.value)
        assert message.startswith(f"{model_file}: ")
        assert "\n" not in message
        for part in ("left of nothing", "--pack", "pack=True", "`qrt pack`", str(kept)):
            assert part in message
    assert not kept.exists()


@needs_guard
def test_a_check_finds_damage_of_tables_too(model_file: Path, kept: Path) -> None:
    def check() -> tuple[int, str]:
        result = CliRunner().invoke(app, ["pack", "--check", str(model_file)])
        return result.exit_code, result.stdout + result.stderr

    code, said = check()
    assert (code, said) == (3, f"error: {model_file}: nothing is kept of it; `qrt pack` does\n")
    run(model_file)
    (file,) = kept.iterdir()
    code, said = check()
    assert code == 0
    assert said.startswith(f"{file}: ")
    assert "as it was written" in said
    whole = file.read_bytes()
    first = run(model_file, pack=False)
    file.write_bytes(flipped(whole, len(whole) - 4096))
    assert run(model_file, room=ROOM) == first
    code, said = check()
    assert (code, said[:7]) == (3, "error: ")
    assert "is damaged" in said


@needs_guard
def test_damage_of_what_is_read_again_and_again_is_found(model_file: Path, kept: Path) -> None:
    first = run(model_file)
    (file,) = kept.iterdir()
    whole = file.read_bytes()
    file.write_bytes(flipped(whole, len(whole) // 2))
    with pytest.raises(ModelError, match="the packed weights changed while"):
        run(model_file, room=ROOM)
    assert not file.exists()
    file.write_bytes(flipped(whole, len(whole) // 2))
    assert run(model_file, room=Room(1 << 40, "left")) == first  # held in memory: packed again
    assert file.read_bytes() == whole
