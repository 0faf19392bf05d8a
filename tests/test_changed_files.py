"""Model files and packed weights that change under a running process: an answer or an error."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kernels import BEST, load

import qrt
from qrt.arch import build_graph
from qrt.backends import cpu, reference
from qrt.backends.base import Executor, Settings
from qrt.backends.cpu import mapped
from qrt.backends.cpu.fetch import Fetcher, checksum_calls, reader, run_calls
from qrt.backends.cpu.guard import guard_kernels
from qrt.backends.cpu.mapped import Mapped
from qrt.backends.cpu.memory import address, reserve
from qrt.config import embedded_model
from qrt.errors import GGUFError, ModelError
from qrt.formats.fields import metadata_array, metadata_strings
from qrt.formats.gguf import GGUFFile, open_gguf
from qrt.formats.stored import StoredFile
from qrt.graph.batch import Batch, Segment
from qrt.kernels.team import TEAM_KERNELS, Team


def cut_to(n_bytes: int) -> Callable[[Path], None]:
    def cut(path: Path) -> None:
        with path.open("r+b") as file:
            file.truncate(n_bytes)

    return cut


def overwrite(path: Path) -> None:
    n_bytes = path.stat().st_size
    with path.open("r+b") as file:
        file.write(b"\xff" * n_bytes)


DAMAGE = {"empty": cut_to(0), "one page": cut_to(4096), "overwritten": overwrite}
needs_guard = pytest.mark.skipif(not guard_kernels(), reason="nothing is mapped")
every_damage = pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)


def prepare(file: GGUFFile, backend: str = "cpu", pack: bool | None = None) -> Executor:
    graph = build_graph(file.metadata, file.tensors, str(file.path))
    settings = Settings(2, (1,) * len(graph.states), 64, "f16", n_ctx=64, file=file, pack=pack)
    kind = {"cpu": cpu, "reference": reference}[backend]
    return kind.prepare(graph, file.tensors, settings, lambda *_: None)


def step(executor: Executor, tokens: list[int], first: int = 0) -> bytes:
    every = np.arange(len(tokens), dtype=np.int32)
    tables = (np.zeros(1, np.int32),) * len(executor.settings.capacities)
    return executor.step(
        Batch((Segment(np.array(tokens, np.int32), first, tables, every),))
    ).tobytes()


@pytest.fixture
def untied(data: Path, tmp_path: Path) -> Path:
    """A model with a table that is only looked up."""
    path = Path(shutil.copy2(data / "arch" / "llama-dense.gguf", tmp_path / "u.gguf"))
    assert "output.weight" in open_gguf(path).tensors
    return path


@every_damage
def test_a_running_model_needs_its_file_no_more(
    untied: Path, damage: Callable[[Path], None]
) -> None:
    quiet, disturbed = prepare(open_gguf(untied)), prepare(open_gguf(untied))
    assert step(quiet, [1, 2, 3]) == step(disturbed, [1, 2, 3])
    damage(untied)
    more = list(range(90, 120))  # tokens whose rows were not read yet
    assert step(quiet, more, 3) == step(disturbed, more, 3)
    for executor in (quiet, disturbed):
        executor.close()


TALK = """
import sys
import qrt
model = qrt.load(sys.argv[1], n_ctx=512, n_threads=2, seed=1)
pieces = []
with model.session() as session:
    asked = [{"role": "user", "content": "What does len do?"}]
    for turn in range(3):
        for record in session.stream_chat(asked, max_tokens=8, temperature=0.0):
            pieces.append(record.text)
            if len(pieces) == 3 and sys.argv[2] != "whole":
                with open(sys.argv[1], "r+b") as file:
                    file.truncate(int(sys.argv[2]))
print(len(pieces), "".join(pieces).encode())
"""


def test_a_chat_goes_on_when_its_file_is_cut_short(tmp_path: Path) -> None:
    said = set()
    for cut in ("whole", "0", "4096"):
        path = tmp_path / f"{cut}.gguf"
        path.write_bytes(embedded_model().read_bytes())
        command = [sys.executable, "-c", TALK, str(path), cut]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        said.add(done.stdout)
    assert len(said) == 1
    assert not said.pop().startswith("0 ")


@every_damage
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_change_while_loading_is_one_line(
    untied: Path, damage: Callable[[Path], None], backend: str
) -> None:
    file = open_gguf(untied)
    names = metadata_strings(file.metadata, "tokenizer.ggml.tokens", default=None)
    damage(untied)
    with pytest.raises(GGUFError, match="changed while it was read") as failure:
        prepare(file, backend)
    assert str(untied) in str(failure.value)
    assert "\n" not in str(failure.value)
    assert names is None or len(names.to_list()) == len(names)


def test_a_header_outlives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(embedded_model().read_bytes())
    files = [open_gguf(path), open_gguf(path)]
    key = "tokenizer.ggml.tok"
    strings = [metadata_strings(file.metadata, f"{key}ens") for file in files]
    kinds = [metadata_array(file.metadata, f"{key}en_type", "int") for file in files]
    before = strings[0].to_list(), kinds[0].tolist(), files[0].fingerprint()
    cut_to(0)(path)
    assert (strings[1].to_list(), kinds[1].tolist(), files[1].fingerprint()) == before
    assert strings[1][5] == before[0][5]


def test_replaced_or_deleted_while_loading_is_harmless(untied: Path) -> None:
    whole = prepare(open_gguf(untied))
    file = open_gguf(untied)
    shutil.copy2(untied, untied.with_suffix(".new")).replace(untied)
    untied.unlink()
    other = prepare(file)
    assert step(other, [1, 2, 3]) == step(whole, [1, 2, 3])


@needs_guard
@every_damage
@pytest.mark.parametrize("n_before", [0, 1, 2])
def test_packed_weights_that_change_under_a_model_are_an_error(
    model_file: Path,
    kept: Path,
    damage: Callable[[Path], None],
    n_before: int,
) -> None:
    first, second = prepare(open_gguf(model_file), pack=False), prepare(open_gguf(model_file))
    (sidecar,) = kept.iterdir()
    whole = sidecar.read_bytes()
    tokens = [[1, 2, 3], [4], list(range(5, 45))]
    at = [0, 3, 4]
    for i in range(n_before):
        assert step(second, tokens[i], at[i]) == step(first, tokens[i], at[i])
    damage(sidecar)
    for _ in range(2):
        with pytest.raises(ModelError, match="the packed weights changed") as failure:
            step(second, tokens[n_before], at[n_before])
    assert str(failure.value).startswith(f"{sidecar}: ")
    assert "\n" not in str(failure.value)
    assert not sidecar.exists()
    third = prepare(open_gguf(model_file))
    assert sidecar.read_bytes() == whole
    fourth = prepare(open_gguf(model_file))
    wanted = [step(executor, tokens[0]) for executor in (third, fourth)]
    assert wanted == [step(first, tokens[0])] * 2
    for executor in (first, second, third, fourth):
        executor.close()


@needs_guard
def test_the_first_step_waits_for_the_check(
    model_file: Path,
    kept: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepare(open_gguf(model_file)).close()
    (sidecar,) = kept.iterdir()
    data = bytearray(sidecar.read_bytes())
    data[-4096] ^= 1
    sidecar.write_bytes(data)
    compare, go = mapped.run_calls, threading.Event()

    def late(*args: Any) -> None:
        go.wait(5)
        compare(*args)

    monkeypatch.setattr(mapped, "run_calls", late)
    executor = prepare(open_gguf(model_file))
    threading.Timer(0.2, go.set).start()
    with pytest.raises(ModelError, match="the packed weights changed"):
        step(executor, [1, 2, 3])
    executor.close()


@needs_guard
@pytest.mark.parametrize("n_bytes", [0, 4096])
def test_a_session_ends_in_one_line_when_its_packed_weights_go(
    tmp_path: Path,
    kept: Path,
    n_bytes: int,
) -> None:
    path = Path(shutil.copy2(embedded_model(), tmp_path / "m.gguf"))
    asked = [{"role": "user", "content": "What does len do?"}]

    def talk(damage: Callable[[Path], None] | None) -> Iterator[int]:
        with qrt.load(path, n_ctx=512, n_threads=2) as model, model.session() as session:
            for record in session.stream_chat(asked, max_tokens=8, temperature=0.0):
                yield record.token
                if damage is not None:
                    damage(next(kept.iterdir()))

    wanted = list(talk(None))
    assert list(talk(None)) == wanted
    cut = talk(cut_to(n_bytes))
    assert next(cut) == wanted[0]
    with pytest.raises(ModelError, match="the packed weights changed"):
        list(cut)
    assert list(talk(None)) == wanted


@needs_guard
def test_threads_that_read_what_is_gone_read_zeros(tmp_path: Path) -> None:
    library = load(BEST, [*TEAM_KERNELS, "fetch", "guard"])
    team = Team(2, library)
    n_bytes, unit = 1 << 22, 4096
    path = tmp_path / "f"
    for n_left in (0, 4096, n_bytes // 2):
        path.write_bytes(b"\1" * n_bytes)
        maps = [Mapped.open(StoredFile(path), library) for _ in range(2)]
        assert not any(one._guarded.is_damaged for one in maps)
        cut_to(n_left)(path)
        sums = np.zeros((2, n_bytes // unit), np.int64)
        for data, out in zip((maps[0].data, np.zeros(n_bytes, np.uint8)), sums, strict=True):
            run_calls(checksum_calls([(address(data), n_bytes)], unit, out), library, team)
        assert (sums[0] == sums[1])[n_left // unit :].all()
        assert not maps[0].data.any()
        assert [one._guarded.is_damaged for one in maps] == [True, False]
        for one in maps:
            one.close()
    team.close()


FAULT = """
import faulthandler, mmap, os, signal, sys
from pathlib import Path
from qrt.backends.cpu.mapped import Mapped
from qrt.config import cache_dir
from qrt.formats.stored import StoredFile
from qrt.kernels.isa import choose
from qrt.kernels.objects import load_kernels
tier, quiet = choose(sys.argv[1]), lambda *_: None
library = load_kernels(["run", "work", "guard"], tier, cache_dir(), lambda: 1, quiet)
paths = [Path(sys.argv[2]) / name for name in ("ours", "theirs")]
for path in paths:
    path.write_bytes(b"1" * 8192)
if sys.argv[3] == "before":
    faulthandler.enable()
ours = Mapped.open(StoredFile(paths[0]), library)
with paths[1].open("rb") as file:
    theirs = mmap.mmap(file.fileno(), 8192, access=mmap.ACCESS_READ)
if sys.argv[3] == "after":
    faulthandler.enable()
    again = Mapped.open(StoredFile(paths[0]), library)
for path in paths:
    os.truncate(path, 0)
assert ours.data[5000] == 0
ours.close()
os.write(1, b"alive")
if sys.argv[3] == "sent":
    signal.raise_signal(signal.SIGBUS)
else:
    print(theirs[5000])
"""


@needs_guard
@pytest.mark.parametrize("handler", ["none", "before", "after", "sent"])
def test_faults_elsewhere_end_the_process_as_ever(tmp_path: Path, handler: str) -> None:
    command = [sys.executable, "-c", FAULT, BEST, str(tmp_path), handler]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGBUS, "alive"), done.stderr
    assert ("Bus error" in done.stderr) == (handler in ("before", "after"))


@pytest.mark.parametrize("with_pread", [True, False])
def test_checksums_see_every_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_pread: bool
) -> None:
    monkeypatch.setattr("qrt.backends.cpu.fetch.reader", reader if with_pread else lambda: 0)
    library = load(BEST, [*TEAM_KERNELS, "fetch"])
    team = Team(2, library)
    rng = np.random.default_rng(3)
    written = rng.integers(0, 256, 5 * 1024 + 256, np.uint8)
    path = tmp_path / "f"

    def sums_of(data: np.ndarray) -> list[int]:
        path.write_bytes(b"before" + data.tobytes())
        sums, target = np.zeros(6, np.int64), reserve(data.size)
        Fetcher(StoredFile(path), library, team).fetch([(6, target)], 1024, sums)
        np.testing.assert_array_equal(target, data)
        again = np.zeros(6, np.int64)
        run_calls(checksum_calls([(address(target), data.size)], 1024, again), library, team)
        assert sums.tolist() == again.tolist()
        return sums.tolist()

    before = sums_of(written)
    assert len(set(before)) == 6
    for at in (0, 63, 64, 255, 256, 1023, 1024, 5000, 5375):
        changed = written.copy()
        changed[at] ^= 1 << int(rng.integers(8))
        differ = [a != b for a, b in zip(before, sums_of(changed), strict=True)]
        assert [i for i, one in enumerate(differ) if one] == [at // 1024]
    swapped = np.concatenate([written[256:512], written[:256], written[512:]])
    assert sums_of(swapped)[0] != before[0]
    assert 0 not in sums_of(np.zeros_like(written))
    with pytest.raises(GGUFError, match="changed while it was read"):
        Fetcher(StoredFile(path), library, team).fetch([(7, reserve(written.size))])
    team.close()
