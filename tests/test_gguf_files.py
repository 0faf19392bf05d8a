"""GGUF files as they are used: split models, vocabularies, typed reads, and the writer."""

from __future__ import annotations

import lzma
import os
import random
import time
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from qrt.errors import GGUFError
from qrt.formats.encode import Typed
from qrt.formats.fields import (
    metadata_array,
    metadata_bool,
    metadata_float,
    metadata_int,
    metadata_str,
    metadata_strings,
)
from qrt.formats.gguf import open_gguf
from qrt.formats.lazy import LazyStrings
from qrt.formats.quants import QTYPES, RAW_TYPES, WEIGHT_TYPES
from qrt.formats.writer import write_gguf


def write_shards(folder: Path, count: int = 3, **changes: int) -> list[Path]:
    paths = [folder / f"m-{i + 1:05d}-of-{count:05d}.gguf" for i in range(count)]
    for i, path in enumerate(paths):
        meta: dict[str, object] = {
            "split.no": Typed("u16", i),
            "split.count": Typed("u16", changes.get("second", count) if i == 1 else count),
            "split.tensors.count": Typed("i32", changes.get("total", count)),
        }
        name = f"t{min(i, changes.get('last', i))}"
        values = np.full(32, i, np.float32)
        write_gguf(path, meta, [(name, QTYPES["F32"], (32,), values)])
    return paths


def test_split_files(tmp_path: Path) -> None:
    paths = write_shards(tmp_path)
    file = open_gguf(paths[0])
    assert file.file_bytes == sum(p.stat().st_size for p in paths)
    assert [t.dequantize()[0] for t in file.tensors.values()] == [0, 1, 2]
    paths[2].unlink()
    with pytest.raises(GGUFError, match=f"the model has 3 shards, missing: {paths[2]}"):
        open_gguf(paths[0])
    with pytest.raises(GGUFError, match=f"is shard 2 of 3, open the first: {paths[0]}$"):
        open_gguf(paths[1])
    renamed = paths[0].rename(tmp_path / "m.gguf")
    with pytest.raises(GGUFError, match=f"open the first: {paths[0]}, which is missing$"):
        open_gguf(paths[1])
    with pytest.raises(GGUFError, match=r"expected a name ending in -00001-of-00003\.gguf"):
        open_gguf(renamed)


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"second": 4}, "metadata 'split.count' is 4, expected 3"),
        ({"total": 5}, "metadata 'split.tensors.count' is 5, expected 3"),
        ({"last": 1}, "tensor 't1' is also in an earlier shard"),
    ],
)
def test_split_files_that_disagree(tmp_path: Path, changes: dict[str, int], fragment: str) -> None:
    with pytest.raises(GGUFError, match=fragment):
        open_gguf(write_shards(tmp_path, **changes)[0])


@pytest.fixture(scope="session")
def llama_bpe(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vocab") / "llama-bpe.gguf"
    packed = data / "vocab" / "ggml-vocab-llama-bpe.gguf.xz"
    path.write_bytes(lzma.decompress(packed.read_bytes()))
    return path


def test_big_vocabulary_opens_fast_and_lazily(llama_bpe: Path) -> None:
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        file = open_gguf(llama_bpe)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.3
    tokens = metadata_strings(file.metadata, "tokenizer.ggml.tokens")
    merges = metadata_strings(file.metadata, "tokenizer.ggml.merges")
    assert (len(tokens), len(merges)) == (128_256, 280_147)
    assert (tokens[0], tokens[-1]) == ("!", "<|reserved_special_token_250|>")
    assert tokens[2:4] == ["#", "$"]
    assert merges[0] == "Ġ Ġ"
    assert [t.decode() for t in merges.raw()] == merges.to_list()
    with pytest.raises(IndexError):
        tokens[128_256]


def test_typed_reads(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    values = {"i": 7, "f": 0.5, "nan": float("nan"), "s": "x" * 99, "b": True, "n": [1, 2]}
    write_gguf(path, values)
    meta = open_gguf(path).metadata
    assert metadata_int(meta, "i", min=7, max=7) == 7
    assert metadata_float(meta, "f") == 0.5
    assert metadata_str(meta, "s") == "x" * 99
    assert metadata_bool(meta, "b") is True
    assert metadata_array(meta, "n", "int").tolist() == [1, 2]
    assert metadata_int(meta, "none", default=None) is None
    assert metadata_array(meta, "none", "int", default=None) is None
    for read, message in (
        (lambda: metadata_int(meta, "none"), "metadata 'none' is missing, expected an integer"),
        (lambda: metadata_int(meta, "i", min=8), "metadata 'i' is 7, expected at least 8"),
        (lambda: metadata_int(meta, "i", max=6), "metadata 'i' is 7, expected at most 6"),
        (lambda: metadata_int(meta, "i", min=8, max=9), "is 7, expected 8 to 9"),
        (lambda: metadata_int(meta, "b"), "metadata 'b': expected an integer, got True (bool)"),
        (lambda: metadata_float(meta, "nan"), "'nan': expected a finite float, got nan (f32)"),
        (lambda: metadata_float(meta, "i"), "'i': expected a finite float, got 7 (u32)"),
        (lambda: metadata_bool(meta, "s"), "..." + " (string)"),
        (lambda: metadata_str(meta, "n"), "expected a string, got an array ([i32])"),
        (lambda: metadata_array(meta, "n", "float"), "expected an array of float, got an array"),
        (lambda: metadata_strings(meta, "n"), "expected an array of strings, got an array"),
    ):
        with pytest.raises(GGUFError) as caught:
            read()
        assert message in str(caught.value)
        assert str(caught.value).startswith(f"{path}: ")


INTEGERS = {
    f"{s}{b}": (0 if s == "u" else -(2 ** (b - 1)), 2 ** (b - (s == "i")) - 1)
    for s in "ui"
    for b in (8, 16, 32, 64)
}
SCALARS = {
    **{name: st.integers(*bounds) for name, bounds in INTEGERS.items()},
    "f32": st.floats(width=32, allow_nan=False),
    "f64": st.floats(allow_nan=False),
    "bool": st.booleans(),
    "string": st.text(max_size=20),
}
values = st.one_of(
    *(s.map(lambda v, n=n: Typed(n, v)) for n, s in SCALARS.items()),
    *(st.lists(s, max_size=5).map(lambda v, n=n: Typed(f"[{n}]", v)) for n, s in SCALARS.items()),
)


@st.composite
def tensor_sources(draw: st.DrawFn) -> list[Any]:
    names = draw(st.lists(st.text("abc.é", min_size=1, max_size=9), max_size=4, unique=True))
    sources = []
    for name in names:
        qtype = draw(st.sampled_from(WEIGHT_TYPES + RAW_TYPES))
        rows = draw(st.lists(st.integers(0, 3), max_size=3))
        shape = (*rows, qtype.block_size * draw(st.integers(1, 3)))
        raw = random.Random(len(sources)).randbytes(qtype.n_bytes(shape))
        sources.append(
            (
                name,
                qtype,
                shape,
                draw(st.sampled_from([raw, np.frombuffer(raw, np.uint8), lambda raw=raw: raw])),
            )
        )
    return sources


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example(meta={"n": Typed("[u64]", [0, 2**63 + 1])}, sources=[], alignment=8)
@given(
    meta=st.dictionaries(st.text(min_size=1, max_size=9), values, max_size=6),
    sources=tensor_sources(),
    alignment=st.sampled_from([8, 32, 256]),
)
def test_round_trip(
    tmp_path: Path, meta: dict[str, Typed], sources: list[Any], alignment: int
) -> None:
    """What the writer writes, our reader and gguf-py's read back alike."""
    path = tmp_path / "m.gguf"
    write_gguf(path, {**meta, "general.alignment": alignment}, sources)
    ours, theirs = open_gguf(path), gguf.GGUFReader(path)
    assert ours.metadata.types == {k: v.type for k, v in meta.items()} | {
        "general.alignment": "u32"
    }
    for key, value in meta.items():
        got = ours.metadata[key]
        assert (list(got) if value.type[0] == "[" else got) == value.value
        if value.value != []:
            assert theirs.fields[key].contents() == value.value
    assert list(ours.tensors) == [t.name for t in theirs.tensors] == [s[0] for s in sources]
    for (name, qtype, shape, source), peer in zip(sources, theirs.tensors, strict=True):
        raw = bytes(source() if callable(source) else source)
        tensor = ours.tensors[name]
        assert (tensor.qtype, tensor.shape, tensor.data.tobytes()) == (qtype, shape, raw)
        assert (peer.tensor_type, peer.data.tobytes()) == (qtype.id, raw)
        assert peer.shape.tolist() == list(reversed(shape))


def test_metadata_is_copied_with_its_types(data: Path, tmp_path: Path) -> None:
    source = open_gguf(data / "arch" / "llama-dense.gguf")
    path = tmp_path / "m.gguf"
    write_gguf(path, source.metadata)
    copy = open_gguf(path).metadata
    assert copy.types == source.metadata.types
    for key, value in source.metadata.items():
        is_list = isinstance(value, LazyStrings | np.ndarray)
        assert list(copy[key]) == list(value) if is_list else copy[key] == value


F32 = QTYPES["F32"]


@pytest.mark.parametrize(
    ("meta", "tensors", "fragment"),
    [
        ({"k": 2**32}, [], "metadata 'k': int cannot be written as u32: "),
        ({"k": Typed("u8", -1)}, [], "cannot be written as u8"),
        ({"k": Typed("[i32]", [1.5])}, [], "a value is out of range"),
        ({"k": 1e39}, [], "cannot be written as f32"),
        ({"k": Typed("bool", 2)}, [], "a value is out of range"),
        ({"k": Typed("int", 2)}, [], "cannot be written as int"),
        ({"k": []}, [], "say the type of this list with Typed"),
        ({"k": None}, [], "say the type of this NoneType with Typed"),
        ({"": 1}, [], "a metadata key is empty"),
        ({"k": "x" * (2**20 + 1)}, [], "at most 1048576 are allowed"),
        ({"general.alignment": 24}, [], "expected a power of two up to 65536, got 24"),
        ({}, [("t", F32, (2,), bytes(4))], "expected 8 bytes of F32 (2,), got 4"),
        ({}, [("t", F32, (1,), bytes(4))] * 2, "tensor 't': occurs twice"),
        ({}, [("t", F32, (), bytes(4))], "expected 1 to 4 dimensions"),
        ({}, [("t", QTYPES["Q4_0"], (31,), b"")], "rows of 31 are not whole Q4_0 blocks of 32"),
    ],
)
def test_writer_refuses(
    tmp_path: Path, meta: dict[str, object], tensors: list[Any], fragment: str
) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"old")
    with pytest.raises(GGUFError) as caught:
        write_gguf(path, meta, tensors)
    assert fragment in str(caught.value)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["m.gguf"]
