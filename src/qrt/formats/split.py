"""Split models: files NAME-00001-of-0000N.gguf, metadata in the first, tensors in all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from qrt.errors import GGUFError
from qrt.formats.fields import metadata_int

_NAME = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf", re.DOTALL)
_MAX_SHARDS = 65_535


def other_shards(path: Path, meta: Mapping[str, object]) -> list[Path]:
    """The files of shards 2 to N, given the first; none for a model in one file.

    Raises GGUFError when `path` is a later shard, its name and metadata disagree, or a shard is
    missing.
    """
    count = metadata_int(meta, "split.count", default=1, min=0, max=_MAX_SHARDS)
    if count <= 1:
        return []
    no = metadata_int(meta, "split.no", min=0, max=count - 1)
    name = _NAME.fullmatch(path.name)
    if name is None or (int(name[2]), int(name[3])) != (no + 1, count):
        expected = f"expected a name ending in -{no + 1:05d}-of-{count:05d}.gguf"
        raise GGUFError(f"{path}: metadata says shard {no + 1} of {count}, {expected}")
    names = [path.with_name(f"{name[1]}-{i + 1:05d}-of-{count:05d}.gguf") for i in range(count)]
    if no != 0:
        lost = "" if names[0].exists() else ", which is missing"
        raise GGUFError(f"{path}: is shard {no + 1} of {count}, open the first: {names[0]}{lost}")
    missing = [str(shard) for shard in names if not shard.exists()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise GGUFError(f"{path}: the model has {count} shards, missing: {missing[0]}{more}")
    return names[1:]


def check_shard(meta: Mapping[str, object], no: int, count: int) -> None:
    """Checks that a file is shard `no` (from 0) of `count`, as its name says."""
    metadata_int(meta, "split.no", min=no, max=no)
    metadata_int(meta, "split.count", min=count, max=count)
