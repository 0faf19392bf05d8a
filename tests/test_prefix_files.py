"""Pages of prompts on disk: the same tokens after a restart, whatever has become of the files."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from kept_models import MODELS, WITH_STATES
from letters import Letters

import qrt
from qrt.cli.serving_flags import ServingFlags
from qrt.errors import BackendError, InputError
from qrt.graph.batch import PAGE_LEN
from qrt.runtime.prefix_files import PrefixFiles
from qrt.runtime.prefix_tree import Tree, packed
from qrt.runtime.prefix_writer import PrefixWriter, place_of

PROMPT = [5 + i * 37 % 100 for i in range(3 * PAGE_LEN + 20)]
OPTIONS = {"max_tokens": 6, "temperature": 0, "ignore_eos": True}


def loaded(folder: Path, path: Path | None = None, n_ctx: int = 256, **options) -> qrt.Model:
    model = qrt.load(path, **{"n_ctx": n_ctx, "n_threads": 1, "prefix_dir": folder, **options})
    if path is not None:
        model._core._tokenizer = Letters()
    return model


def told(model: qrt.Model, prompt: list[int], **options) -> tuple[tuple[int, ...], int]:
    """The tokens of a generation, and how many of its prompt were stored."""
    done = model.generate(prompt, **OPTIONS, **options)
    return done.tokens, done.timings.n_cached_tokens


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def written(tmp_path):
    """A folder with the pages of PROMPT and its answer, and what PROMPT gives."""
    with loaded(tmp_path / "d") as model:
        want, _ = told(model, PROMPT)
    return tmp_path / "d", want


@pytest.mark.parametrize("name", MODELS)
def test_a_restart_goes_on_from_the_files_with_the_same_tokens(name, data, tmp_path):
    path, options = MODELS[name]
    path = path and data / "arch" / path
    with loaded(tmp_path / "d", path, **options) as model:
        answer, _ = told(model, PROMPT)
        longer = [*PROMPT, *answer, *range(10, 30)]
        branch = [*PROMPT[:150], *range(10, 30)]
        want = [told(model, prompt, cache_prompt=False)[0] for prompt in (longer, branch)]
    with loaded(tmp_path / "d", path, **options) as model:
        assert told(model, longer) == (want[0], len(PROMPT) + 5)  # the last had no step
        model._core.engine.check_integrity()
        again = len(PROMPT) + 5 if name in WITH_STATES else len(longer) - 1
        assert told(model, longer) == (want[0], again)
    with loaded(tmp_path / "d", path, **options) as model:
        assert told(model, branch) == (want[1], 0 if name in WITH_STATES else 150)
        assert told(model, longer, cache_salt="s")[1] == 0
        engine = model._core.engine
        engine.check_integrity()
        assert engine.n_free_pages == engine.n_pages


def test_only_the_user_may_read_them(written):
    folder, _ = written
    for path in (folder, *folder.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0
    (folder / "qrt-prefixes-1").chmod(0o770)
    with pytest.raises(BackendError, match=r"may be written by others .* name another prefix_dir"):
        loaded(folder)
    with pytest.raises(InputError, match=r"prefix_dir .* name another"):
        loaded(Path(__file__) / "d")
    with pytest.raises(InputError, match="prefix_dir must be a path"):
        qrt.load(prefix_dir=5)


@pytest.mark.parametrize("harm", [0, 20, 60, 90, 400, -2, "short", "long", "empty", "link", "pipe"])
def test_a_damaged_file_is_never_trusted(harm, written):
    folder, want = written
    for path in files(folder):
        data = bytearray(path.read_bytes())
        if isinstance(harm, int):
            data[harm] ^= 1
        path.write_bytes({"short": data[:-9], "long": data + b"x", "empty": b""}.get(harm, data))
        if harm in ("link", "pipe"):
            path.unlink()
            os.mkfifo(path) if harm == "pipe" else path.symlink_to("/etc/passwd")
    with loaded(folder) as model:
        assert told(model, PROMPT) == (want, 0)
        model._core.engine.check_integrity()
    with loaded(folder) as model:
        got, n_cached = told(model, PROMPT)
        assert got == want
        assert n_cached > 0 or harm == "link"  # written anew


def test_one_missing_page_ends_what_is_read(written):
    folder, want = written
    with loaded(folder) as model:
        core = model._core
        tree = Tree(core._prefix_key())
        one = tree.digest_below(tree.root(""), packed(PROMPT[:PAGE_LEN]))
    (path,) = folder.glob(f"*/*/{one.hex()}-*")
    path.unlink()
    with loaded(folder) as model:
        assert told(model, PROMPT) == (want, PAGE_LEN)


def test_files_of_another_model_are_not_those_of_this_one(written):
    folder, _ = written
    with loaded(folder, kv_type="q8_0") as model:
        assert told(model, PROMPT)[1] == 0


def test_the_folder_stays_below_its_cap_and_what_is_foreign_goes(tmp_path):
    folder = tmp_path / "d"
    with loaded(folder) as model:
        told(model, PROMPT)
    size = max(path.stat().st_size for path in files(folder))
    foreign = folder / "qrt-prefixes-1" / "ab"
    foreign.mkdir(exist_ok=True)
    for name in ("x", "tmpnew", "tmpold"):
        (foreign / name).write_bytes(b"x")
    os.utime(foreign / "tmpold", (1, 1))
    with loaded(folder, n_ctx=512, prefix_dir_bytes=6 * size) as model:
        for i in range(6):
            told(model, [*PROMPT[:100], *[i + 3] * 200])
    left = [path for path in files(folder) if path.name != "tmpnew"]
    assert sum(path.stat().st_size for path in left) <= 6 * size
    assert [path.name for path in files(foreign) if len(path.name) < 20] == ["tmpnew"]
    with loaded(folder, n_ctx=512, prefix_dir_bytes=6 * size) as model:
        assert told(model, [*PROMPT[:100], *[8] * 200])[1] > 200


def test_a_page_that_is_given_to_others_while_it_is_read_is_not_written(tmp_path):
    tree, kept = Tree(), PrefixFiles(tmp_path / "d", 1 << 20)
    nodes = [tree.add(tree.root(""), packed([i] * PAGE_LEN), 1) for i in range(2)]
    for node in nodes:
        node.units[0] = 5

    def memory(group: int, page: int) -> list[np.ndarray]:
        assert (group, page) == (0, 5)
        if nodes[0] in tree:
            tree.remove(nodes[0])
        return [np.zeros(100, np.uint8)]

    writer = PrefixWriter(kept, tree, memory)
    for node in nodes:
        writer.submit(node)
    writer.close()
    assert [kept.has(place_of(node)) for node in nodes] == [False, True]
    assert len(files(tmp_path)) == 1


def test_a_disk_that_fails_harms_no_generation(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PrefixFiles, "write", full)
    with loaded(tmp_path / "d") as model:
        want, _ = told(model, PROMPT)
        assert told(model, PROMPT) == (want, len(PROMPT) - 1)
    assert files(tmp_path) == []


WRITES = """
import sys, random, qrt
draw = random.Random(int(sys.argv[2]))
with qrt.load(n_ctx=512, n_threads=1, prefix_dir=sys.argv[1], prefix_dir_bytes=40_000_000) as model:
    print(flush=True)
    while True:
        prompt = [draw.randrange(4)] * 150 + draw.choices(range(50), k=draw.randrange(200))
        model.generate(prompt, max_tokens=2, ignore_eos=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
def test_processes_that_are_killed_while_they_write(tmp_path):
    """Two at a time in one folder; every file they leave is whole."""
    draw, folder = random.Random(1), tmp_path / "d"
    for turn in range(3):
        command = [sys.executable, "-c", WRITES, str(folder)]
        both = [
            subprocess.Popen([*command, str(2 * turn + i)], stdout=subprocess.PIPE)
            for i in range(2)
        ]
        for process in both:
            process.stdout.readline()
        time.sleep(0.3 + draw.random())
        for process in both:
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
    names = [path.name for path in files(folder)]
    assert len([name for name in names if not name.startswith("tmp")]) > 10
    with loaded(folder, n_ctx=512) as model:
        for token in range(4):
            prompt = [token] * 150 + [60] * 20
            want, _ = told(model, prompt, cache_prompt=False)
            got, n_cached = told(model, prompt)
            assert got == want
            assert n_cached >= 2 * PAGE_LEN
    damaged = 0
    for path in files(folder):
        damaged += path.name not in names and path.name.startswith("tmp")
    assert not damaged


def test_the_flags_of_a_server_are_those_of_load():
    flags = ServingFlags(cache_mib=3, prefix_dir="d", prefix_dir_mib=5).keywords()
    assert flags["kv_bytes"] == 3 << 20
    assert (flags["prefix_dir"], flags["prefix_dir_bytes"]) == ("d", 5 << 20)
    assert not {"kv_bytes", "prefix_dir"} & ServingFlags().keywords().keys()
    for wrong in ({"cache_mib": -1}, {"prefix_dir_mib": -1}):
        with pytest.raises(InputError, match="must be MiB"):
            ServingFlags(**wrong).keywords()
