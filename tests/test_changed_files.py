"""Model files and packed weights that change under a running process: an answer or an error."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from kernels import BEST, load
from test_sidecar import kept, model  # noqa: F401

from qrt.arch import build_graph
from qrt.backends import cpu, reference
from qrt.backends.base import Executor, Settings
from qrt.backends.cpu.fetch import Fetcher, checksum_calls, reader, run_calls
from qrt.backends.cpu.memory import address, reserve
from qrt.config import embedded_model
from qrt.errors import GGUFError
from qrt.formats.fields import metadata_array, metadata_strings
from qrt.formats.gguf import GGUFFile, open_gguf
from qrt.formats.stored import StoredFile
from qrt.graph.batch import Batch
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
every_damage = pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)


def prepare(file: GGUFFile, backend: str = "cpu") -> Executor:
    graph = build_graph(file.metadata, file.tensors, str(file.path))
    settings = Settings(2, n_pages=1, max_rows=64, kv_type="f16", file=file)
    kind = {"cpu": cpu, "reference": reference}[backend]
    return kind.prepare(graph, file.tensors, settings, lambda *_: None)


def step(executor: Executor, tokens: list[int], first: int = 0) -> bytes:
    every, zeros = np.arange(len(tokens), dtype=np.int32), np.zeros(len(tokens), np.int32)
    batch = Batch(np.array(tokens, np.int32), every + first, zeros, (zeros[:1],), every)
    return executor.step(batch, "prefill").tobytes()


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


@every_damage
def test_packed_weights_may_change_under_a_model(
    model: Path,  # noqa: F811
    kept: Path,  # noqa: F811
    damage: Callable[[Path], None],
) -> None:
    first = prepare(open_gguf(model))
    second = prepare(open_gguf(model))
    (sidecar,) = kept.iterdir()
    damage(sidecar)
    assert step(second, [1, 2, 3]) == step(first, [1, 2, 3])


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
