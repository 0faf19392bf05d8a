"""Files that qrt cannot run: the message names what they are, what is missing, what is closest."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from tiny_models import arch_of, metadata_of, tensors_of
from typer.testing import CliRunner

from qrt.arch import build_graph
from qrt.arch.unsupported import PROJECTOR
from qrt.cli.app import app
from qrt.cli.tables import print_table
from qrt.errors import ArchError, GGUFError
from qrt.formats.gguf import open_gguf
from qrt.formats.qtensor import QTensor
from qrt.formats.quants import QTYPES, WEIGHT_TYPES
from qrt.formats.quants.others import IK, why_not
from qrt.formats.writer import write_gguf


def renamed(model: str, arch: str) -> dict[str, object]:
    """The metadata of a tiny model under another architecture's name."""
    old = arch_of(model)
    own = {k: arch + k[len(old) :] for k in metadata_of(model) if k.startswith(f"{old}.")}
    changed = {own.get(key, key): value for key, value in metadata_of(model).items()}
    return changed | {"general.architecture": arch}


def refusal(metadata: Mapping[str, object], tensors: Mapping[str, QTensor]) -> str:
    with pytest.raises(ArchError) as error:
        build_graph(metadata, tensors, "m.gguf")
    text = str(error.value)
    assert text.startswith("m.gguf: ")
    assert text.isprintable()
    assert len(text) < 400
    return text


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"general.architecture": "clip"}, "is the projector of a multimodal model"),
        ({"general.architecture": "llama", "general.type": "mmproj"}, "open the model's own file"),
        ({"general.architecture": "llama", "general.type": "adapter"}, "is an adapter (LoRA)"),
        ({"general.architecture": "llama", "adapter.type": "lora"}, "--lora FILE"),
        ({"general.architecture": "controlvector"}, "is a control vector"),
        ({"general.type": "imatrix"}, "is an importance matrix"),
        ({"imatrix.chunk_count": 9}, "open the model itself"),
    ],
)
def test_a_file_that_is_no_model_is_named(metadata: Mapping[str, object], message: str) -> None:
    assert message in refusal(metadata, tensors_of("llama"))


def test_blocks_ahead_alone_are_named() -> None:
    """As converters write them with --mtp, beside the embedding and the output."""
    last = {name: t for name, t in tensors_of("qwen35@layers").items() if "blk.3" in name}
    assert len(last) > 1
    rest = {name: t for name, t in tensors_of("qwen35@layers").items() if "blk" not in name}
    assert "predict tokens further ahead" in refusal(metadata_of("qwen35@layers"), last | rest)


def test_a_vocabulary_is_named() -> None:
    metadata = {"general.architecture": "llama", "tokenizer.ggml.model": "gpt2"}
    assert "`qrt tokenize` reads it" in refusal(metadata, {})
    assert "got nothing; its tensors and keys are like none of theirs" in refusal({}, {})


@pytest.mark.parametrize("model", ["llama", "gpt-oss", "gemma4", "olmo", "exaone4@64"])
def test_an_architecture_under_another_name_is_closest_to_its_own(model: str) -> None:
    arch = arch_of(model)
    text = refusal(renamed(model, f"{arch}-new"), tensors_of(model))
    assert f"got '{arch}-new'; closest is {arch}, " in text


def test_what_a_file_lacks_and_has_beyond_the_closest_is_named() -> None:
    tensors = tensors_of("qwen3")
    norm = tensors["output_norm.weight"]
    assert "closest is qwen3, whose tensors and keys it has" in refusal(
        renamed("qwen3", "qwen3x"), tensors
    )
    tensors |= {f"blk.{i}.{name}": norm for i in range(2) for name in ("ssm_a", "ssm_b")}
    tensors["blk.0.attn_norm.weight"] = tensors["blk.0.attn_q.weight"]
    for i in range(2):
        del tensors[f"blk.{i}.attn_k.weight"]
    metadata = renamed("qwen3", "qwen3x") | {"qwen3x.ssm.state_size": 4}
    text = refusal(metadata, tensors)
    for part in (
        "closest is qwen3, but the file lacks tensor 'attn_k.weight'",
        "has tensor 'ssm_a' and 1 more",
        "has in another shape 'attn_norm.weight'",
        "has key 'ssm.state_size'",
    ):
        assert part in text
    strange = {"general.architecture": "flux"}
    assert "tensors and keys are like none of theirs" in refusal(strange, tensors)
    del metadata["qwen3x.block_count"]
    assert "by name it is like qwen3 (key 'qwen3.block_count': " in refusal(metadata, tensors)


def test_hostile_files_are_refused_in_a_moment() -> None:
    tensors = tensors_of("llama")
    norm = tensors["output_norm.weight"]
    tensors |= {f"blk.{i}.\x1b[31m{'é' * 20}{j}": norm for i in range(512) for j in range(9)}
    tensors["blk.0.\n"] = norm
    metadata = renamed("llama", "\u202e\n" * 999)
    metadata["\u202e\n" * 999 + ".block_count"] = 512
    metadata |= {"\u202e\n" * 999 + f".\x07{i}": i for i in range(9)}
    start = time.process_time()
    refusal(metadata, tensors)
    refusal(metadata, tensors_of("llama"))
    assert time.process_time() - start < 5


def test_info_shows_a_projector_and_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mmproj.gguf"
    tensor = ("v.blk.0.ln1.weight", QTYPES["F32"], (4,), bytes(16))
    write_gguf(path, {"general.architecture": "clip", "clip.vision.block_count": 1}, [tensor])
    result = CliRunner().invoke(app, ["info", str(path)])
    assert result.exit_code == 3
    assert "clip.vision.block_count" in result.stdout
    assert result.stderr == f"error: {path}: {PROJECTOR}\n"


def test_names_stay_whole_in_a_narrow_terminal(monkeypatch, capsys) -> None:
    monkeypatch.setattr("qrt.cli.tables.is_terminal", lambda _: True)
    monkeypatch.setenv("COLUMNS", "80")
    print_table("m", [("gemma4.attention.sliding_window_pattern", "penalties;" * 9)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("  gemma4.attention.sliding_window_pattern  penalties;")
    assert max(map(len, lines)) <= 80


def test_types_of_others_are_named_with_the_closest() -> None:
    assert why_not(139) == "type IQ4_K of ik_llama.cpp is not supported; closest is a file in Q4_K"
    assert "interleaved rows of ik_llama.cpp" in why_not(212)
    assert {close for _, close in IK.values()} <= {qtype.name for qtype in WEIGHT_TYPES}


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"tjgg\x03\0\0\0" + bytes(32), "a GGML file from before GGUF"),
        (b"PK\x03\x04" + bytes(32), "an archive"),
        (b"\x80\0\0\0\0\0\0\0" + b'{"__metadata__"', "a safetensors file"),
        (b"<!DOCTYPE html>", "a web page"),
    ],
)
def test_files_of_other_kinds_are_named(tmp_path: Path, start: bytes, message: str) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(start)
    with pytest.raises(GGUFError, match=f"not a GGUF file: .*; it is {message}"):
        open_gguf(path)
