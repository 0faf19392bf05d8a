"""Environment variables, default threads and the cache directory."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from qrt.config import KNOBS, Env, cache_dir, cgroup_cpus, default_threads, read_env
from qrt.errors import BackendError, InputError


def test_unset_and_empty_say_nothing() -> None:
    assert read_env({}) == read_env({"QRT_ISA": "", "PATH": "/bin"}) == Env()


def test_knobs_are_read() -> None:
    env = read_env({"QRT_ISA": "avx2", "QRT_CACHE_DIR": "/x/y", "QRT_THREADS": "3"})
    assert env == Env("avx2", Path("/x/y"), 3)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("QRT_CACHE_DIR", "relative/path"),
        ("QRT_THREADS", "0"),
        ("QRT_THREADS", "-1"),
        ("QRT_THREADS", "2.5"),
        ("QRT_THREADS", "9" * 5000),
        ("QRT_THREADS", "²"),
    ],
)
def test_a_bad_value_names_its_variable(variable: str, text: str) -> None:
    assert variable in {knob.variable for knob in KNOBS}
    with pytest.raises(InputError, match=f"{variable}: expected .*, got") as error:
        read_env({variable: text})
    assert len(str(error.value)) < 300


def test_default_threads_follow_the_affinity_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_threads(Env(n_threads=5)) == 5
    monkeypatch.setattr("qrt.config.sys.platform", "linux")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 3, 9}, raising=False)
    for quota, expected in ((None, 4), (2.9, 2), (0.5, 1), (64.0, 4)):
        monkeypatch.setattr("qrt.config.cgroup_cpus", lambda quota=quota: quota)
        assert default_threads(Env()) == expected


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "max 100000"}, None),
        ("0::/\n", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"}, 2.0),
        ("0::/a\n", {"cpu.max": "400000 100000", "a/cpu.max": "300000 100000"}, 3.0),
        ("0::/outside\n", {}, None),
        (
            "4:cpu,cpuacct:/d\n2:memory:/d\n",
            {"cpu/d/cpu.cfs_quota_us": "250000", "cpu/d/cpu.cfs_period_us": "100000"},
            2.5,
        ),
        (
            "4:cpu:/\n",
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
            None,
        ),
        (None, {}, None),
    ],
)
def test_cgroup_quota(
    tmp_path: Path, cgroup: str | None, files: dict[str, str], expected: float | None
) -> None:
    if cgroup is not None:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    assert cgroup_cpus(tmp_path) == expected


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, and a temporary directory beside it."""
    monkeypatch.setattr("qrt.config.sys.platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    return tmp_path / "home"


def test_the_cache_is_private(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cache_dir(Env())
    assert path == home / ".cache/qrt"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "xdg"))
    assert cache_dir(Env()) == home / "xdg/qrt"
    assert cache_dir(Env(cache_dir=home / "own")) == home / "own"


@pytest.mark.parametrize("mode", [0o770, 0o707])
@pytest.mark.usefixtures("home")
def test_a_cache_others_can_write_is_refused(mode: int) -> None:
    cache_dir(Env()).chmod(mode)
    with pytest.raises(BackendError, match="may be written by others"):
        cache_dir(Env())


def test_a_link_or_a_strangers_directory_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = cache_dir(Env())
    (home / "link").symlink_to(own)
    with pytest.raises(BackendError, match="not a directory"):
        cache_dir(Env(cache_dir=home / "link"))
    monkeypatch.setattr(os, "geteuid", lambda: own.stat().st_uid + 1)
    with pytest.raises(BackendError, match="belongs to another user"):
        cache_dir(Env())


@pytest.mark.parametrize("nowhere", ["", "relative"])
def test_a_home_that_is_none_is_not_the_root(
    home: Path, monkeypatch: pytest.MonkeyPatch, nowhere: str
) -> None:
    monkeypatch.setenv("HOME", nowhere)
    assert cache_dir(Env()).parent == home.parent / "tmp"
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "xdg"))
    assert cache_dir(Env()) == home / "xdg/qrt"


def test_without_a_writable_home_the_temporary_directory_serves(home: Path) -> None:
    home.write_text("a file where the home should be")
    path = cache_dir(Env())
    assert path.parent == home.parent / "tmp"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    with pytest.raises(BackendError, match="QRT_CACHE_DIR"):
        cache_dir(Env(cache_dir=home / "below"))
