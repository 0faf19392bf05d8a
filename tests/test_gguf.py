"""GGUF files made by hand, byte by byte: what is read, what is refused and how it is said."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from qrt.errors import GGUFError
from qrt.formats.fields import metadata_array, metadata_strings
from qrt.formats.gguf import GGUFFile, open_gguf
from qrt.formats.lazy import LazyStrings

U32, STRING, ARRAY = 4, 8, 9


class Info(NamedTuple):
    """A tensor of a handmade file; the offset follows from the tensors before unless given."""

    name: str
    dims: tuple[int, ...] = (32, 2)
    type_id: int = 0
    n_bytes: int = 256
    offset: int | None = None


def text(s: str | bytes) -> bytes:
    raw = s.encode() if isinstance(s, str) else s
    return struct.pack("<Q", len(raw)) + raw


def array(code: int, n: int, payload: bytes) -> bytes:
    return struct.pack("<IQ", code, n) + payload


GOOD_KV = (
    ("general.architecture", STRING, text("llama")),
    ("a.u8", 0, b"\xff"),
    ("a.f32", 6, struct.pack("<f", 0.5)),
    ("a.bool", 7, b"\x01"),
    ("a.i64", 11, struct.pack("<q", -(2**63))),
    ("a.tokens", ARRAY, array(STRING, 3, text("a") + text("") + text("é"))),
    ("a.scores", ARRAY, array(6, 2, struct.pack("<2f", 1, 2))),
)
GOOD_TENSORS = (Info("t0"), Info("t1", (32,), 2, 18), Info("t2"))


class Handmade:
    """A GGUF file put together field by field; knows where each field starts and how long it is."""

    def __init__(
        self,
        kv: Iterable[tuple[str | bytes, int, bytes]] = GOOD_KV,
        tensors: Iterable[Info] = GOOD_TENSORS,
        *,
        magic: bytes = b"GGUF",
        version: int = 3,
        n_kv: int | None = None,
        n_tensors: int | None = None,
        key_size: int | None = None,
        alignment: int = 32,
        cut: int = 0,
    ) -> None:
        self.raw = bytearray()
        self.fields: list[tuple[int, int]] = []
        kv, tensors = list(kv), list(tensors)
        self.add(magic)
        self.pack("I", version)
        self.pack("Q", len(tensors) if n_tensors is None else n_tensors)
        self.pack("Q", len(kv) if n_kv is None else n_kv)
        for key, code, payload in kv:
            name = text(key)
            self.add(name[:8] if key_size is None else struct.pack("<Q", key_size))
            self.add(name[8:])
            self.pack("I", code)
            for start in range(0, min(len(payload), 64), 4):
                self.add(payload[start : start + 4])
            self.add(payload[64:])
        at = 0
        for t in tensors:
            self.add(text(t.name)[:8])
            self.add(t.name.encode())
            self.pack("I", len(t.dims))
            for dim in t.dims:
                self.pack("Q", dim)
            self.pack("I", t.type_id)
            self.pack("Q", at if t.offset is None else t.offset)
            at += t.n_bytes + -t.n_bytes % alignment
        if tensors:
            self.raw += bytes(-len(self.raw) % alignment)
        for t in tensors:
            self.add(bytes(t.n_bytes + -t.n_bytes % alignment))
        del self.raw[len(self.raw) - cut :]

    def add(self, raw: bytes) -> None:
        self.fields.append((len(self.raw), len(raw)))
        self.raw += raw

    def pack(self, code: str, value: int) -> None:
        self.add(struct.pack("<" + code, value))


def align(value: int, code: int = U32) -> tuple[tuple[str, int, bytes], ...]:
    return (*GOOD_KV, ("general.alignment", code, struct.pack("<I", value)))


HUGE = 2**64 - 1
TOP = 2**63 - 64
OPEN = ""
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "HEADER_BAD_MAGIC": ({"magic": b"FUGG"}, "not a GGUF file: expected b'GGUF' at byte 0"),
    "HEADER_BAD_VERSION_0": ({"version": 0}, "version at byte 4: expected 2 or 3, got 0"),
    "HEADER_BAD_VERSION_1": ({"version": 1}, "GGUF version 1 is not supported"),
    "HEADER_BAD_VERSION_FUTURE": ({"version": 4}, "expected 2 or 3, got 4"),
    "HEADER_BAD_N_TENSORS": ({"n_tensors": HUGE}, "tensor count at byte 8"),
    "HEADER_BAD_N_KV": ({"n_kv": HUGE}, "metadata count at byte 16"),
    "HEADER_EMPTY": ({"kv": (), "tensors": ()}, OPEN),
    "KV_BAD_KEY_SIZE": ({"key_size": HUGE}, f"metadata key 0 at byte 24: is {HUGE} bytes long"),
    "KV_EMPTY_KEY": ({"kv": [("", U32, bytes(4))]}, "metadata key 0 at byte 24: is empty"),
    "KV_BAD_TYPE": ({"kv": [("k", 13, bytes(4))]}, "value type 13 is unknown"),
    "KV_DUPLICATE_KEY": ({"kv": GOOD_KV * 2}, "'general.architecture' occurs twice"),
    "KV_BAD_ALIGN": ({"kv": align(13)}, "general.alignment: expected a power of two, got 13"),
    "KV_WRONG_TYPE_ALIGN": ({"kv": align(32, code=5)}, "general.alignment: expected u32, got i32"),
    "KV_SUCCESS": ({"tensors": ()}, OPEN),
    "TENSORS_BAD_NAME_SIZE": ({"tensors": [Info("n" * 64)]}, "is 64 bytes long, at most 63"),
    "TENSORS_BAD_N_DIMS": ({"tensors": [Info("t", (1,) * 5)]}, "has 5 dimensions"),
    "TENSORS_BAD_SHAPE": ({"tensors": [Info("t", (HUGE,))]}, "are too large"),
    "TENSORS_ZERO_DIM": ({"tensors": [Info("t", (32, 0), n_bytes=0)]}, OPEN),
    "TENSORS_NE_TOO_BIG": ({"tensors": [Info("t", (2**32, 2**31))]}, "are too large"),
    "TENSORS_NBYTES_TOO_BIG": ({"tensors": [Info("t", (2**61,), 27)]}, "are too large"),
    "TENSORS_NBYTES_PAD_WRAP": ({"tensors": [Info("t", (TOP,), 24)]}, "are too large"),
    "TENSORS_BAD_TYPE": ({"tensors": [Info("t", type_id=999)]}, "type 999 is unknown"),
    "TENSORS_BAD_OFFSET": ({"tensors": [Info("t", offset=HUGE)]}, "not a multiple of"),
    "TENSORS_DUPLICATE_NAME": ({"tensors": [Info("t"), Info("t")]}, "'t' occurs twice"),
    "TENSORS_BAD_ALIGN": ({"kv": align(13), "alignment": 13}, "expected a power of two, got 13"),
    "TENSORS_INCONSISTENT_ALIGN": ({"kv": align(64)}, "not a multiple of the alignment 64"),
    "TENSORS_SUCCESS": ({}, OPEN),
    "TENSORS_CUSTOM_ALIGN": ({"kv": align(1), "alignment": 1}, OPEN),
    "DATA_NOT_ENOUGH_DATA": ({"cut": 1}, "the file is truncated or corrupt"),
    "DATA_BAD_ALIGN": ({"kv": align(0)}, "expected 1 to 65536"),
    "DATA_INCONSISTENT_ALIGN": ({"alignment": 2}, "not a multiple of the alignment 32"),
    "DATA_MEM_SIZE_OVERFLOW": (
        {"tensors": [Info("a", (2**60 - 64,), 24), Info("b", (2**60 - 64,), 24)]},
        "is not all in the file",
    ),
    "DATA_SUCCESS": ({"version": 2}, OPEN),
    "DATA_CUSTOM_ALIGN": ({"kv": align(4096), "alignment": 4096}, OPEN),
    # Beyond llama.cpp's 34:
    "BIG_ENDIAN": ({"version": 3 << 24}, "big-endian"),
    "KV_BAD_VALUE_SIZE": ({"kv": [("k", STRING, struct.pack("<Q", 2**40))]}, "at most 1048576"),
    "KV_LONG_STRING": ({"kv": [("k", STRING, text(b"x" * (2**20 + 1)))]}, "at most 1048576"),
    "KV_LONG_TEMPLATE": ({"kv": [("tokenizer.chat_template", STRING, text(b"x" * 2**21))]}, OPEN),
    "KV_LONG_ARRAY": ({"kv": [("k", ARRAY, array(0, 2**40, b""))]}, "more than the rest"),
    "KV_NESTED_ARRAY": ({"kv": [("k", ARRAY, array(ARRAY, 1, bytes(12)))]}, "arrays of arrays"),
    "KV_BAD_BOOL": ({"kv": [("k", 7, b"\x02")]}, "a bool must be 0 or 1, got 2"),
    "KV_BAD_BOOLS": ({"kv": [("k", ARRAY, array(7, 2, b"\x01\x02"))]}, "0 or 1, got 2"),
    "KV_BAD_UTF8": ({"kv": [("k", STRING, text(b"ab\xff"))]}, "is not valid UTF-8"),
    "KV_STRING_PAST_END": (
        {
            "kv": [("k", ARRAY, array(STRING, 2, text("a") + struct.pack("<Q", 99) + b"b"))],
            "tensors": (),
        },
        "metadata 'k'[1] at byte 58: needs 99 bytes, the file has 1 left",
    ),
    "TENSORS_NO_DIMS": ({"tensors": [Info("t", ())]}, "has 0 dimensions"),
    "TENSORS_PART_BLOCK": ({"tensors": [Info("t", (33,), 2, 18)]}, "not whole Q4_0 blocks of 32"),
    "TENSORS_TYPE_OF_ACTIVATIONS": (
        {"tensors": [Info("t", (256,), 15)]},
        "type Q8_K is not supported",
    ),
    "TENSORS_OVERLAP": ({"tensors": [Info("a"), Info("b", offset=128)]}, "overlaps that of 'a'"),
    "TENSORS_BEYOND": ({"tensors": [Info("a", offset=2**63)]}, "is not all in the file"),
}


def check_rejected(path: Path, fragment: str = "") -> None:
    with pytest.raises(GGUFError) as caught:
        open_gguf(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert fragment in message


@pytest.mark.parametrize("name", CASES)
def test_handmade(tmp_path: Path, name: str) -> None:
    """llama.cpp's 34 handcrafted categories with its verdicts, and some more."""
    arguments, fragment = CASES[name]
    path = tmp_path / "m.gguf"
    path.write_bytes(Handmade(**arguments).raw)
    if fragment == OPEN:
        open_gguf(path).close()
    else:
        check_rejected(path, fragment)


def test_values_and_tensors(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(Handmade().raw)
    with open_gguf(path) as file:
        meta, tensors = file.metadata, file.tensors
        assert (file.version, file.file_bytes) == (3, path.stat().st_size)
    assert (meta["a.u8"], meta["a.f32"], meta["a.i64"]) == (255, 0.5, -(2**63))
    assert meta["a.bool"] is True
    assert list(metadata_strings(meta, "a.tokens")) == ["a", "", "é"]
    assert metadata_array(meta, "a.scores", "float").tolist() == [1, 2]
    assert [(t.qtype.name, t.shape) for t in tensors.values()] == [
        ("F32", (2, 32)),
        ("Q4_0", (32,)),
        ("F32", (2, 32)),
    ]
    assert (tensors["t0"].n_rows, tensors["t0"].row_bytes) == (2, 128)
    assert not tensors["t1"].data.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        metadata_array(meta, "a.scores", "float")[0] = 3


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (None, "no such file"),
        ("dir", "is a directory"),
        (b"", "is empty"),
        (b"GGUF", "truncated: the header needs 24 bytes, the file has 4"),
        (b"GG", "not a GGUF file"),
        (b"Once upon a time\nthere was", "not a GGUF file"),
    ],
)
def test_not_a_model(tmp_path: Path, content: bytes | str | None, fragment: str) -> None:
    path = tmp_path / "m.gguf"
    if content == "dir":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    check_rejected(path, fragment)


def test_truncated_at_every_field(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    made = Handmade()
    for at, size in made.fields:
        for end in {at, at + size // 2, at + max(size, 1) - 1} - {len(made.raw)}:
            path.write_bytes(made.raw[:end])
            check_rejected(path)


BOUNDARIES = [0, 1, 2**7, 2**15, 2**16, 2**24, 2**30, 2**31, 2**32, 2**62, 2**63, 2**64]


def mutate(rng: random.Random, made: Handmade) -> bytes:
    """Up to three changes: a field set to a boundary value, cut or doubled, a bit flipped."""
    raw = bytearray(made.raw)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at, size = rng.choice(made.fields[:-3])
        match rng.randrange(5):
            case 0 | 1:
                value = rng.choice((*BOUNDARIES, len(raw))) + rng.choice((-1, 0, 1))
                raw[at : at + size] = (value % 2 ** (8 * size)).to_bytes(size, "little")
            case 2:
                raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
            case 3:
                del raw[at : at + size]
            case 4:
                raw[at:at] = raw[at : at + size]
    return bytes(raw)


def use(file: GGUFFile) -> None:
    """Reads everything that an open file promises."""
    for value in file.metadata.values():
        if isinstance(value, LazyStrings):
            assert len(value.to_list()) == len(value)
    for tensor in file.tensors.values():
        assert len(tensor.data) == tensor.qtype.n_bytes(tensor.shape)
        assert tensor.dequantize().shape == tensor.shape


def test_mutations_open_or_are_refused(tmp_path: Path) -> None:
    rng = random.Random(20)
    path = tmp_path / "m.gguf"
    made = Handmade(align(32))
    opened, refused = 0, set()
    for _ in range(3000):
        path.write_bytes(mutate(rng, made))
        try:
            with open_gguf(path) as file:
                use(file)
            opened += 1
        except GGUFError as error:
            refused.add(re.sub(r"[-\d]+|'.*'|\[.*\]", "", str(error)))
    assert opened > 100
    assert len(refused) > 25  # different complaints: the mutations reach most checks
    assert not any("\n" in message for message in refused)


def test_lazy_strings_name_bad_text(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    strings = array(STRING, 2, text("ok") + text(b"\xc3"))
    path.write_bytes(Handmade([("k", ARRAY, strings)], ()).raw)
    lazy = metadata_strings(open_gguf(path).metadata, "k")
    assert lazy[0] == "ok"
    assert lazy.raw() == [b"ok", b"\xc3"]
    for read in (lazy.to_list, lambda: lazy[1]):
        with pytest.raises(GGUFError, match=r"metadata 'k'\[1\] at byte 67: is not valid UTF-8"):
            read()
