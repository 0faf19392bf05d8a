"""What of a model fits into memory, from numbers alone and for a model that is loaded."""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from sidecars import needs_guard

import qrt
from qrt.backends.base import Footprint, Room
from qrt.config import embedded_model
from qrt.errors import BackendError
from qrt.free_memory import FreeMemory
from qrt.graph.state import KV, Recurrent, StateGroup
from qrt.runtime import loader
from qrt.runtime.capacity import capacities
from qrt.runtime.fitting import OVERHEAD, Fit, Need, fit, footprint_of

KIB = 1 << 10
FULL = KV((0, 1), 64, 64, 2)
WINDOWED = KV((2,), 64, 64, 2, window=128)
NEED = Need(Footprint(1000 * KIB, 50 * KIB, (20 * KIB, 10 * KIB)), (FULL, WINDOWED), 640, 64)
"""Ten pages of the one and five of the other, at 64 positions each."""
STATES = (10 * 20 + 5 * 10) * KIB
BESIDE = OVERHEAD + 50 * KIB + STATES


def free(n_bytes: int) -> FreeMemory:
    return FreeMemory(n_bytes, "left")


def test_pages_of_one_sequence_are_counted() -> None:
    assert capacities(NEED.groups, 640, 64, spare=0) == (10, 5)
    assert NEED.n_bytes == BESIDE + 1000 * KIB


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        (FreeMemory(), Fit()),
        (free(1 << 40), Fit(15 * 640)),
        (free(BESIDE + 1000 * KIB + 4 * 145 * 30 * KIB), Fit(145 * 64)),
        (free(BESIDE + 1000 * KIB), Fit(0)),
        (free(BESIDE + 1065 * KIB), Fit(128)),
        (free(BESIDE + 1000 * KIB - 1), Fit(0, Room(1000 * KIB - 1, "left"))),
        (free(BESIDE), Fit(0, Room(0, "left"))),
        (FreeMemory(address_space=BESIDE + 1030 * KIB), Fit(64)),
        (FreeMemory(1 << 40, "left", BESIDE + 1030 * KIB), Fit(64)),
    ],
)
def test_what_does_not_fit_shrinks(memory: FreeMemory, expected: Fit) -> None:
    found = fit(NEED, memory, "m")
    assert found == expected
    if found.room is None and memory.n_bytes is not None:
        pages = capacities(NEED.groups, 640, 64, found.spare)
        assert sum(n * size for n, size in zip(pages, NEED.footprint.units, strict=True)) + (
            BESIDE - STATES + 1000 * KIB
        ) <= max(memory.n_bytes, memory.address_space or 0)


@pytest.mark.parametrize("short", [1, 100 * KIB, STATES // 2])
def test_the_context_that_would_fit_is_named(short: int) -> None:
    memory = free(BESIDE - short)
    with pytest.raises(BackendError, match=r"^m: a context of 640 needs .* GB are left; use") as e:
        fit(NEED, memory, "m")
    n_ctx = int(str(e.value).rpartition("n_ctx=")[2].split()[0])
    assert fit(replace(NEED, n_ctx=n_ctx), memory, "m").room is not None
    with pytest.raises(BackendError):
        fit(replace(NEED, n_ctx=n_ctx + 1), memory, "m")


def test_what_never_fits_says_so() -> None:
    with pytest.raises(BackendError, match=r"needs at least .* beside packed weights"):
        fit(NEED, free(OVERHEAD), "m")
    with pytest.raises(BackendError, match=r"address space, .*ulimit -v"):
        fit(NEED, FreeMemory(1 << 40, "left", BESIDE), "m")


@pytest.mark.parametrize("groups", [(Recurrent((0,), 1),), (FULL, Recurrent((0,), 1))])
@pytest.mark.parametrize("state", [100, 40 << 20])
def test_slots_are_bound_by_memory(groups: tuple[StateGroup, ...], state: int) -> None:
    """A model loads where one sequence's state, the next and a snapshot fit; others share what is
    left with pages."""
    units = (20 * KIB, state)[-len(groups) :]
    need = Need(Footprint(0, 0, units), groups, 640, 64)
    pages = 10 * 20 * KIB * (len(groups) - 1)
    assert need.n_bytes == OVERHEAD + pages + 3 * state
    for left, kv_bytes in ((0, None), (10 * state, None), (1 << 40, None), (1 << 40, 9 * state)):
        found = fit(replace(need, kv_bytes=kv_bytes), free(need.n_bytes + left), "m")
        assert found.room is None
        assert need.state_bytes(spare=found.spare, slots=found.slots) <= need.state_bytes() + left
        if kv_bytes is not None:
            assert found.slots >= 4
            assert found.slots * state <= kv_bytes
        elif left > 1 << 39:
            assert found.slots == 1024
    assert fit(need, FreeMemory(), "m").slots in ((1024,) if state == 100 else (5, 6))
    with pytest.raises(BackendError, match="needs at least"):
        fit(need, free(OVERHEAD + 2 * state), "m")


def test_parts_add_up() -> None:
    parts = [Footprint(1, 2, (3, 0)), Footprint(10, 20, (0, 30))]
    assert footprint_of(parts) == Footprint(11, 22, (3, 30))


def test_compilers_are_as_many_as_memory_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = import_module("qrt.backends.cpu.prepare")  # the package has a function of its name
    monkeypatch.setattr(prepare, "default_threads", lambda: 8)
    for n_bytes, expected in ((None, 8), (0, 1), (3 << 29, 3), (1 << 40, 8)):
        memory = FreeMemory(n_bytes, "left")
        monkeypatch.setattr(prepare, "free_memory", lambda memory=memory: memory)
        assert prepare.n_compilers() == expected


@needs_guard
def test_a_model_larger_than_memory_answers_the_same(
    tmp_path: Path,
    kept: Path,
    packed: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("QRT_PACK_CACHE")
    path = Path(shutil.copy2(embedded_model(), tmp_path / "m.gguf"))

    def answer(**options: bool) -> list[int]:
        with qrt.load(path, n_ctx=64, n_threads=2, **options) as loaded:
            return loaded.generate([1, 2, 3], max_tokens=8, temperature=0).tokens

    needs: list[Need] = []

    def spy(need: Need, *args: object) -> Fit:
        needs.append(need)
        return fit(need, *args)

    monkeypatch.setattr(loader, "fit", spy)
    first = answer()
    assert not kept.exists()
    (need,) = needs
    monkeypatch.setattr(loader, "free_memory", lambda: free(need.n_bytes - 1))
    with pytest.raises(BackendError, match=r"packed weights need .* --pack"):
        answer()
    assert answer(pack=True) == first
    packed.clear()
    assert answer() == first
    assert not packed
    with pytest.raises(BackendError, match=r"packed weights need .* --pack"):
        answer(pack=False)
    monkeypatch.setattr(loader, "free_memory", lambda: free(need.fixed))
    with pytest.raises(BackendError, match=r"keys and values|beside packed weights"):
        answer(pack=True)
