"""What memory is left, read from trees that look like /proc and /sys."""

from __future__ import annotations

from pathlib import Path

import pytest

from qrt.free_memory import FreeMemory, free_memory

MEMINFO = (
    "MemTotal:       24684084 kB\nMemFree:  100 kB\nMemAvailable:   2000 kB\nHugePages_Total: 0\n"
)
HERE = "available on this machine"
NO_LIMIT = str((1 << 63) - 4096)
V2_STAT = "anon 900\nactive_file 100\ninactive_file 200\nslab_reclaimable 40\nshmem 77"
V1_STAT = "cache 500\ninactive_file 1\ntotal_inactive_file 250\ntotal_active_file 50"


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    return root


def v2(folder: str, **files: str) -> dict[str, str]:
    return {f"sys/fs/cgroup/{folder}memory.{name}": text for name, text in files.items()}


def v1(folder: str, limit: str) -> dict[str, str]:
    at = f"sys/fs/cgroup/memory/{folder}"
    return {
        f"{at}/memory.limit_in_bytes": limit,
        f"{at}/memory.usage_in_bytes": "1200",
        f"{at}/memory.stat": V1_STAT,
    }


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, (None, "")),
        ({"proc/meminfo": MEMINFO}, (2_048_000, HERE)),
        ({"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/a"}, (2_048_000, HERE)),
        (
            {"proc/self/cgroup": "0::/a"} | v2("a/", max="max", high="max", current="9"),
            (None, ""),
        ),
        (
            {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/a/b"}
            | v2("a/b/", max="9000", high="max", current="1240", stat=V2_STAT),
            (9000 - 900, "left of 0.00 GB of cgroup b"),
        ),
        (
            {"proc/self/cgroup": "0::/a/b"}
            | v2("a/b/", max="9000", high="3000", current="1240", stat=V2_STAT)
            | v2("a/", max="5000", current="4000", stat="inactive_file 10"),
            (1010, "left of 0.00 GB of cgroup a"),
        ),
        (
            {"proc/self/cgroup": "0::/a"} | v2("a/", max="1000", current="1200", stat="anon 1"),
            (0, "left of 0.00 GB of cgroup a"),
        ),
        (
            {"proc/meminfo": MEMINFO, "proc/self/cgroup": "5:cpu:/x\n4:memory:/x\n0::/"}
            | v1("x", NO_LIMIT),
            (2_048_000, HERE),
        ),
        (
            {"proc/self/cgroup": "4:memory:/outside/x"} | v1("", "5000"),
            (5000 - 900, "left of 0.00 GB of cgroup memory"),
        ),
    ],
)
def test_the_least_of_all_limits(
    tmp_path: Path, files: dict[str, str], expected: tuple[int | None, str]
) -> None:
    found = free_memory(tree(tmp_path, files))
    assert (found.n_bytes, found.limit) == expected
    assert found.address_space is None


@pytest.mark.parametrize(
    ("soft", "left"), [("unlimited", None), ("5000000", 5_000_000 - 1024 * 70)]
)
def test_mapped_files_count_against_the_address_space(
    tmp_path: Path, soft: str, left: int | None
) -> None:
    limits = f"Limit   Soft Limit  Hard Limit  Units\nMax address space   {soft}  unlimited  bytes"
    files = {"proc/self/limits": limits, "proc/self/status": "VmPeak: 99 kB\nVmSize:  70 kB"}
    assert free_memory(tree(tmp_path, files)) == FreeMemory(address_space=left)


def test_this_machine_says_something() -> None:
    here = free_memory()
    if Path("/proc/meminfo").exists():
        assert here.n_bytes
