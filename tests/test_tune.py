"""`qrt tune`: the rule that chooses, the life of its file, and that choices change no result."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from steps import in_chunks, prepare, segment, step
from typer.testing import CliRunner

from qrt.arch import build_graph
from qrt.backends import cpu
from qrt.backends.base import Choices
from qrt.backends.cpu.tuning import (
    defaults,
    n_cpus,
    read_tuning,
    remove_tuning,
    this_host,
    write_tuning,
)
from qrt.cli.app import app
from qrt.cli.arguments import model_file
from qrt.config import Env, read_env
from qrt.errors import BackendError
from qrt.formats.gguf import open_gguf
from qrt.progress import no_progress
from qrt.runtime.loader import LoadOptions, load
from qrt.tools.machine import examine
from qrt.tools.tune import MIN_ROUNDS, race
from qrt.tools.tune_model import random_model

EMBEDDED = model_file(None)
NAMES = [field.name for field in fields(Choices)]


def invoke(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def script(times: dict[int, list[float]]) -> Callable[[int], float]:
    """Gives the times of each value one after the other."""
    left = {value: iter(seconds) for value, seconds in times.items()}
    return lambda value: next(left[value])


@pytest.mark.parametrize(
    ("times", "winner"),
    [
        ({8: [1.0] * 5, 4: [0.9] * 5}, 4),
        ({8: [1.0] * 5, 4: [0.96] * 5}, 8),
        ({8: [1.0] * 5, 4: [0.5, 0.5, 0.5, 0.5, 0.97]}, 8),
        ({8: [1.0] * 5, 4: [0.97, 0.5, 0.5]}, 8),
        ({8: [1.0] * 5, 4: [0.9] * 5, 2: [0.8] * 5}, 2),
        ({8: [1.0, 1.2, 1.0, 1.2, 1.0], 4: [0.9, 1.1, 0.9, 1.1, 0.9]}, 4),
        ({8: [1.0, 1.3, 1.0, 1.3, 1.0], 4: [0.9, 1.1, 0.9, 1.1, 0.9]}, 8),
        ({8: []}, 8),
    ],
)
def test_a_candidate_must_win_clearly_every_time(
    times: dict[int, list[float]], winner: int
) -> None:
    default, *others = times
    done = race("x", default, others, 5, script(times))
    assert (done.winner, done.default) == (winner, default)
    assert (done.gain > 0) == (winner != default)


@given(st.lists(st.tuples(*[st.floats(0.975, 1.025)] * 3), min_size=20, max_size=20))
def test_a_noisy_tie_keeps_the_default(noise: list[tuple[float, ...]]) -> None:
    times = {value: [row[value] for row in noise] for value in range(3)}
    assert race("x", 0, [1, 2], 20, script(times)).winner == 0


def test_rounds_are_interleaved_and_losers_leave() -> None:
    asked: list[int] = []

    def seconds(value: int) -> float:
        asked.append(value)
        return {8: 1.0, 4: 0.8, 2: 1.1}[value]

    assert race("x", 8, [4, 2], MIN_ROUNDS + 1, seconds).winner == 4
    assert asked == [8, 4, 2, 2, 4, 8, 8, 4, 2, 4, 8]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of choices, away from that of the user."""
    file = tmp_path / "tuned.json"
    monkeypatch.setattr("qrt.backends.cpu.tuning.FILE", str(file))
    monkeypatch.delenv("QRT_THREADS", raising=False)
    return file


def document(**values: Any) -> dict[str, Any]:
    """A file in which `values` were measured on this machine."""
    choices = {name: {"value": value} for name, value in values.items()}
    return {
        "date": "2030-01-02T03:04:05Z",
        "host": asdict(this_host(read_env())),
        "choices": choices,
    }


def test_what_was_measured_is_in_force(path: Path) -> None:
    usual = defaults(Env())
    assert (read_tuning(read_env()).state, read_tuning(read_env()).choices) == ("default", usual)
    path.write_text(json.dumps(document(prefill_rows=256, decode_threads=1)))
    found = read_tuning(read_env())
    assert (found.state, found.date) == ("tuned", "2030-01-02T03:04:05Z")
    assert (found.choices.prefill_rows, found.choices.decode_threads) == (256, 1)
    assert found.choices.prefill_threads == usual.prefill_threads
    for asked in (read_tuning(read_env(), 3), read_tuning(replace(read_env(), n_threads=3))):
        assert (asked.choices.prefill_threads, asked.choices.decode_threads) == (3, 3)
        assert asked.choices.prefill_rows == 256
    loaded = load(EMBEDDED, LoadOptions(), no_progress)
    settings = loaded.executor.settings
    assert (settings.max_rows, settings.decode_threads) == (256, 1)
    loaded.executor.close()


@pytest.mark.parametrize("fact", ["cpu", "features", "n_cpus", "kernels"])
def test_another_host_makes_it_stale(path: Path, fact: str) -> None:
    found = document(prefill_rows=256, of_a_later_version=1)
    found["host"][fact] = "other"
    path.write_text(json.dumps(found))
    tuning = read_tuning(read_env())
    assert (tuning.state, tuning.choices.prefill_rows) == ("stale", 512)
    assert invoke("info").stdout.count("stale") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not what"),
        ("{", "is not what"),
        ("[1]", "is not what"),
        ('{"choices": {}}', "is not what"),
        ("[" * 100_000, "is not what"),
        (" " * (1 << 20) + "{}", "is not what"),
        (json.dumps(document(warp=9)), "unknown choice 'warp'"),
        (json.dumps(document(prefill_rows=0)), "prefill_rows: expected a whole number from 1 to"),
        (json.dumps(document(prefill_rows="512")), "prefill_rows: expected a whole number"),
        (json.dumps(document(prefill_rows=1e99)), "prefill_rows: expected a whole number"),
        (json.dumps(document(decode_threads=n_cpus(Env()) + 1)), "decode_threads: expected"),
        (json.dumps(document(prefill_threads=True)), "prefill_threads: expected"),
        (json.dumps(document() | {"choices": {"prefill_rows": 512}}), "prefill_rows: expected"),
    ],
    ids=range(13),
)
def test_a_damaged_file_is_one_clear_line(path: Path, text: str, message: str) -> None:
    path.write_text(text)
    with pytest.raises(BackendError) as caught:
        read_tuning(read_env())
    assert str(caught.value).startswith(f"{path}: {message}")
    assert str(caught.value).endswith("`qrt tune --reset` removes it, `qrt tune` makes it anew")
    result = invoke("info")
    assert (result.exit_code, result.stderr) == (3, f"error: {caught.value}\n")
    assert examine().problems == (str(caught.value),)


def test_a_file_that_cannot_be_read(path: Path) -> None:
    path.mkdir()
    with pytest.raises(BackendError, match="cannot be read"):
        read_tuning(read_env())
    for write in (partial(write_tuning, path, {}), partial(remove_tuning, path)):
        with pytest.raises(BackendError, match=f"{path}: cannot be (written|removed): "):
            write()
    assert list(path.parent.iterdir()) == [path]


def test_the_command(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qrt.tools.tune._N_PROMPT", 70)
    monkeypatch.setattr("qrt.tools.tune._DECODE_BYTES", 1)
    load(EMBEDDED, LoadOptions(), no_progress).executor.close()  # compiles what is missing
    path.write_text("damaged")
    result = invoke("tune", EMBEDDED, "-r", 3)
    assert (result.exit_code, result.stderr) == (0, "")
    title, _, *rows = result.stdout.splitlines()
    assert str(EMBEDDED) in title
    assert {row.split()[0] for row in rows[: len(NAMES)]} == set(NAMES)
    assert str(path) in rows[-1]
    found = json.loads(path.read_text())
    assert found["model"] == str(EMBEDDED)
    tuning = read_tuning(read_env())
    assert tuning.state == "tuned"
    assert {name: record["value"] for name, record in found["choices"].items()} == asdict(
        tuning.choices
    )
    rows_measured = found["choices"]["prefill_rows"]
    assert set(rows_measured["median_s"]) == {"256", "512", "1024"}
    assert json.loads(invoke("info", "--json").stdout)["running"]["tuning"] == asdict(tuning)
    for _ in range(2):
        result = invoke("tune", "--reset")
        assert (result.exit_code, str(path) in result.stdout) == (0, True)
        assert examine().tuning == read_tuning(read_env())
        assert read_tuning(read_env()).state == "default"


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["-r", "2"], 2, "rounds must be between 3"),
        (["none.gguf"], 3, "none.gguf: no such file"),
        ([__file__], 3, "not a GGUF file"),
    ],
)
def test_bad_input(path: Path, args: list[str], code: int, message: str) -> None:
    result = invoke("tune", *args)
    assert (result.exit_code, result.stdout, path.exists()) == (code, "", False)
    assert result.stderr.startswith("error: ")
    assert message in result.stderr


def test_models_to_measure_with() -> None:
    model = random_model()
    with open_gguf(EMBEDDED) as file:
        first = sum(len(t.data) for name, t in file.tensors.items() if "blk.0." in name)
        for whole, n_bytes, n_layers in (
            (model, 1, 1),
            (model, 100 << 20, 4),
            (model, 1 << 40, 6),
            (type(model)(file.metadata, file.tensors, "m"), first + 1, 2),
        ):
            part = whole.first_layers(n_bytes)
            assert build_graph(part.metadata, part.tensors, "m").n_layers == n_layers


def test_choices_change_no_bit() -> None:
    tokens = 7 * np.arange(135) % 4000 + 3
    found = set()
    for changes in (
        {"max_rows": 512},
        {"max_rows": 64, "decode_threads": 1},
        {"n_threads": 1, "max_rows": 96, "decode_threads": 3},
    ):
        with closing(prepare(cpu, EMBEDDED, **changes)) as model:
            logits = in_chunks(model, tokens[:130], min(130, model.settings.max_rows))
            decoded = [step(model, segment([tokens[p]], p)) for p in range(130, 135)]
            found.add(np.concatenate([logits, *decoded]).tobytes())
            n_threads = model.settings.decode_threads or model.settings.n_threads
            assert model._teams["decode"].n_threads == n_threads
    assert len(found) == 1
