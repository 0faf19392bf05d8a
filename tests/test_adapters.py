"""Adapters through every door: files, `qrt.load`, generations, sessions, command line, server."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapters import adapter_tensors, is_matrix, metadata_for, pairs_of, write_adapter
from kernels import nmse
from served import served
from tiny_models import metadata_of, tensor, tensors_of
from tiny_parts import N_CTX
from typer.testing import CliRunner

import qrt
from qrt.arch import build_graph
from qrt.arch.adapters import read_adapter
from qrt.arch.lora import with_adapters
from qrt.cli.app import app
from qrt.compat.llama_cpp import Llama
from qrt.config import embedded_model
from qrt.errors import ArchError, InputError, ModelError
from qrt.formats.gguf import open_gguf
from qrt.formats.qtensor import QTensor
from qrt.formats.quants.f16 import F16
from qrt.formats.quants.q8_0 import Q8_0

BASE = Path(str(embedded_model()))
PROMPT = "def read(path):\n    with open(path) as file:\n        return file.read()\n\n\ndef write("
SAID = {"max_tokens": 12, "temperature": 0.0, "ignore_eos": True}
TASK = "adapter.lora.task_name"
LOAD = {"n_ctx": 256, "n_threads": 2}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Two adapters for the embedded model, one a second time with other values."""
    folder = tmp_path_factory.mktemp("adapters")
    (folder / "other").mkdir()
    with open_gguf(BASE) as file:
        graph = build_graph(file.metadata, file.tensors, "base")
    return {
        "a": write_adapter(
            folder / "a.gguf", graph.arch, pairs_of(graph, 8, 1), 8.0, more={TASK: "style"}
        ),
        "b": write_adapter(folder / "b.gguf", graph.arch, pairs_of(graph, 32, 2), 32.0, Q8_0),
        "again": write_adapter(
            folder / "other/a.gguf", graph.arch, pairs_of(graph, 8, 3), 8.0, F16
        ),
    }


@pytest.fixture(scope="module")
def model(files: Mapping[str, Path]) -> Iterator[qrt.Model]:
    with qrt.load(lora=[files["a"], (files["b"], 2.0)], **LOAD) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def alone(files: Mapping[str, Path]) -> Callable[..., list[int]]:
    """What a model loaded with these adapters alone says."""

    def said(*names: str, scale: float = 1.0) -> list[int]:
        with qrt.load(lora=[(files[name], scale) for name in names], **LOAD) as one:
            return list(one.generate(PROMPT, **SAID).tokens)

    return said


def test_a_generation_uses_what_it_asks_for(model: qrt.Model, alone: Any) -> None:
    assert [(one.name, one.scale) for one in model.adapters] == [("a", 1.0), ("b", 2.0)]
    wanted: list[tuple[dict[str, float] | None, list[int]]] = [
        ({"a": 1.0}, alone("a")),
        ({"b": 2.0}, alone("b", scale=2.0)),
        ({}, alone()),
        ({"a": 0.0}, alone()),
    ]
    assert len({tuple(tokens) for _, tokens in wanted}) == 3
    for lora, tokens in wanted:
        assert list(model.generate(PROMPT, lora=lora, **SAID).tokens) == tokens
    by_load = list(model.generate(PROMPT, **SAID).tokens)
    assert by_load == list(model.generate(PROMPT, lora={"a": 1.0, "b": 2.0}, **SAID).tokens)
    streams = [model.stream(PROMPT, lora=lora, **SAID) for lora, _ in wanted]
    together = zip(*streams, strict=True)
    assert [
        list(tokens) for tokens in zip(*[[r.token for r in row] for row in together], strict=True)
    ] == [tokens for _, tokens in wanted]
    np.testing.assert_array_equal(
        model.logits(PROMPT), model.logits(PROMPT, lora={"a": 1.0, "b": 2.0}, chunk=1)
    )


def test_pages_are_not_shared_between_scales(model: qrt.Model) -> None:
    prompt = "class Queue:\n" + PROMPT * 3

    def n_cached(scale: float, **options: Any) -> int:
        done = model.generate(prompt, lora={"b": scale}, **SAID | options)
        return done.timings.n_cached_tokens

    assert n_cached(0.25) == 0
    assert n_cached(0.25) > 64
    assert n_cached(0.5) == 0
    assert n_cached(0.25, cache_salt="x") == 0
    session = model.session()
    fresh = list(model.generate(prompt, lora={"a": 0.5}, cache_prompt=False, **SAID).tokens)
    for lora in ({"a": 2.0}, {"a": 0.5}):
        done = session.generate(prompt, lora=lora, cache_prompt=False, **SAID)
    assert list(done.tokens) == fresh


def test_a_state_is_of_its_scales(model: qrt.Model, tmp_path: Path) -> None:
    session, other = model.session(), model.session()
    session.generate(PROMPT, lora={"a": 0.5}, **SAID)
    session.save_state(tmp_path / "state")
    with pytest.raises(InputError, match="is that of another model"):
        other.load_state(tmp_path / "state")
    other.generate("x", lora={"a": 0.5}, **SAID)
    assert other.load_state(tmp_path / "state") > 0


def test_kept_pages_are_of_the_file(files: Mapping[str, Path], tmp_path: Path) -> None:
    """An adapter of the same name and shape finds nothing of another's."""
    found = []
    for name in ("a", "a", "again"):
        with qrt.load(lora=[files[name]], prefix_dir=tmp_path / "pages", **LOAD) as one:
            found.append(one.generate(PROMPT * 4, **SAID).timings.n_cached_tokens)
    assert found[0] == found[2] == 0
    assert found[1] > 0


def test_vectors_of_texts_are_made_with_it(files: Mapping[str, Path]) -> None:
    with qrt.load(embedding=True, lora=[files["a"]], **LOAD) as one:
        changed = one.embed(["hello"])
        one.use_adapters({})
        plain = one.embed(["hello"])
    with qrt.load(embedding=True, **LOAD) as other:
        np.testing.assert_array_equal(other.embed(["hello"]), plain)
    assert float((changed * plain).sum()) < 0.999
    core = weakref.ref(one._core)
    del one
    assert core() is None, "what embeds keeps its model"


def test_packed_weights_are_kept_without_adapters(
    alone: Any, kept: Path, packed: list[str]
) -> None:
    said = alone("a")
    assert any(".lora_" not in name for name in packed)
    packed.clear()
    assert alone("a") == said
    assert packed
    assert all(".lora_" in name for name in packed)
    assert len([*kept.iterdir()]) == 1


def test_layers_of_another_backend_have_their_adapters(files: Mapping[str, Path]) -> None:
    found = []
    for layers in (None, {"0": "reference"}):
        with qrt.load(lora=[files["a"]], layers=layers, **LOAD) as one:
            found.append(one.logits(PROMPT[:9]))
    assert nmse(*found) < 1e-3


def test_scales_of_a_model_may_be_set(files: Mapping[str, Path], alone: Any) -> None:
    with qrt.load(lora=(files["a"], files["again"]), **LOAD) as one:
        assert [adapter.name for adapter in one.adapters] == ["a", "a-2"]
        one.use_adapters({"a": 1.0})
        assert [adapter.scale for adapter in one.adapters] == [1.0, 0.0]
        assert list(one.generate(PROMPT, **SAID).tokens) == alone("a")
        for lora, message in (
            ({"c": 1.0}, "no adapter 'c'; there are a, a-2"),
            ({"a": float("nan")}, "must be between"),
            ("a", "must map names"),
        ):
            with pytest.raises(InputError, match=message):
                one.generate(PROMPT, lora=lora, **SAID)


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        ([1], "must hold paths"),
        ([("a.gguf", "x")], "must be a number"),
        (["/nowhere.gguf"], "no such file"),
        ([str(BASE)], "key 'general.type': expected 'adapter', a LoRA adapter"),
    ],
)
def test_what_is_no_adapter_is_refused(lora: Any, message: str) -> None:
    with pytest.raises((InputError, ModelError), match=message):
        qrt.load(lora=lora)


def test_on_the_command_line(files: Mapping[str, Path]) -> None:
    def said(*flags: str) -> str:
        command = ["complete", "-p", PROMPT, "-n", "12", "--temp", "0", "--ignore-eos", *flags]
        result = CliRunner().invoke(app, [*command, "-t", "2", "-c", "256"])
        assert result.exit_code == 0, result.output
        return result.stdout

    path = str(files["a"])
    plain, scaled = said(), said("--lora", f"{path}:0.25,{path}:0.25", "--lora", f"{files['b']}:0")
    assert scaled != plain
    assert said("--lora", f"{path}:0") == plain
    with qrt.load(lora=[(path, 0.5)], **LOAD) as one:
        assert one.generate(PROMPT, **SAID).text.rstrip("\n") in scaled
    as_model = CliRunner().invoke(app, ["run", path, "hello"])
    assert as_model.exit_code == 3
    assert "--lora FILE" in as_model.stderr
    many = CliRunner().invoke(app, ["serve", "--lora", path])
    assert "--lora is of one model; give MODEL" in many.stderr


def test_over_http(model: qrt.Model, alone: Any) -> None:
    def said(**more: Any) -> list[int]:
        body = {"prompt": PROMPT, "n_predict": 12, "temperature": 0, "ignore_eos": True}
        reply = one.ask("/completion", {**body, "return_tokens": True, **more})
        assert reply.status == 200, reply.body
        return list(reply.json["tokens"])

    with served(model) as one:
        listed = one.ask("/lora-adapters").json
        assert listed == [
            {"id": 0, "path": "a.gguf", "scale": 1.0, "task_name": "style", "prompt_prefix": ""},
            {"id": 1, "path": "b.gguf", "scale": 2.0, "task_name": "", "prompt_prefix": ""},
        ]
        assert said(lora=[{"id": 0, "scale": 1}]) == alone("a")
        assert said(lora=[]) == list(model.generate(PROMPT, **SAID).tokens)
        assert one.ask("/lora-adapters", [{"id": 1, "scale": 2}]).json == {"success": True}
        assert [each["scale"] for each in one.ask("/lora-adapters").json] == [0.0, 2.0]
        assert said() == alone("b", scale=2.0)
        chat = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
        asked = {**chat, "lora": [{"id": 1, "scale": 0.1}]}
        assert one.ask("/v1/chat/completions", asked).status == 200
        for path, body, word in (
            ("/completion", {"prompt": "x", "lora": [{"id": 2, "scale": 1}]}, "id 2"),
            ("/completion", {"prompt": "x", "lora": [{"id": 0, "scale": 1e9}]}, "between"),
            ("/completion", {"prompt": "x", "lora": {"0": 1}}, "lora"),
            ("/lora-adapters", [{"id": -1, "scale": 1}], "id -1"),
            ("/lora-adapters", {"id": 0}, "array"),
        ):
            reply = one.ask(path, body)
            assert reply.status == 400
            assert word in reply.json["error"]["message"]
    model.use_adapters({"a": 1.0, "b": 2.0})


def test_in_place_of_llama_cpp(files: Mapping[str, Path]) -> None:
    llama = Llama(str(BASE), n_ctx=256, lora_path=str(files["a"]), lora_scale=0.0)
    text = llama(PROMPT, max_tokens=8, temperature=0.0)["choices"][0]["text"]
    with qrt.load(**LOAD) as plain:
        assert plain.generate(PROMPT, max_tokens=8, temperature=0.0).text == text


Change = Callable[[dict[str, Any], dict[str, QTensor]], Any]
A, B = "blk.0.attn_q.weight.lora_a", "blk.0.attn_q.weight.lora_b"
ZERO = np.zeros


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, _: m.update({"general.type": "model"}), "'general.type': expected 'adapter'"),
        (lambda m, _: m.update({"adapter.type": 3}), "'adapter.type': expected 'lora'"),
        (lambda m, _: m.update({"general.architecture": "qwen2"}), "expected 'llama', the model's"),
        (lambda m, _: m.update({"adapter.lora.alpha": float("nan")}), "'adapter.lora.alpha'"),
        (lambda m, _: m.update({"adapter.lora.alpha": "8"}), "'adapter.lora.alpha'"),
        (lambda m, _: m.update({"adapter.alora.invocation_tokens": [1]}), "(aLoRA) is not"),
        (lambda _, t: t.pop(A), f"tensor '{A}' is missing"),
        (lambda _, t: t.pop(B), f"tensor '{B}' is missing"),
        (lambda _, t: t.update({"x.weight": t[A]}), "'x.weight': expected a name that ends"),
        (lambda _, t: t.update({"x.lora_a": t[A], "x.lora_b": t[B]}), "'x', which it adapts"),
        (
            lambda _, t: t.update({A: tensor(A, ZERO((5, 63)))}),
            "expected shape (5, 64), got (5, 63)",
        ),
        (
            lambda _, t: t.update({A: tensor(A, ZERO((6, 64)))}),
            "expected shape (5, 64), got (6, 64)",
        ),
        (lambda _, t: t.update({A: tensor(A, ZERO((5, 64, 1)))}), "got (5, 64, 1)"),
        (lambda _, t: t.update({B: tensor(B, ZERO((128, 0)))}), "expected a rank from 1"),
        (lambda _, t: t.update({A: tensor(A, np.full((5, 64), np.inf))}), "NaN or infinities"),
        (lambda _, t: t.clear(), "has no tensors"),
    ],
)
def test_a_file_that_does_not_fit_is_named(change: Change, message: str) -> None:
    graph = build_graph(metadata_of("llama"), tensors_of("llama"), "m.gguf", N_CTX)
    metadata = metadata_for("llama", 5.0)
    tensors = adapter_tensors(pairs_of(graph, 5))
    change(metadata, tensors)
    with pytest.raises(ArchError) as error:
        with_adapters(graph, [read_adapter(metadata, tensors, "a.gguf", graph)])
    text = str(error.value)
    assert text.startswith("a.gguf: ")
    assert message in text
    assert text.isprintable()


def test_what_cannot_be_adapted_is_named() -> None:
    graph = build_graph(metadata_of("deepseek2"), tensors_of("deepseek2"), "m.gguf", N_CTX)
    pairs = pairs_of(graph, 2, named=lambda name: is_matrix(name) and name.startswith("blk.0"))
    tensors = adapter_tensors(pairs)
    found = read_adapter(metadata_for("deepseek2", 1.0), tensors, "a.gguf", graph)
    with pytest.raises(ArchError, match=r"a.gguf: tensor 'blk.0.attn_._b.weight.lora_a': adapters"):
        with_adapters(graph, [found])


def test_norms_of_an_adapter_are_left_out() -> None:
    graph = build_graph(metadata_of("llama"), tensors_of("llama"), "m.gguf", N_CTX)
    tensors = adapter_tensors(pairs_of(graph, 2))
    norm = tensor("blk.0.attn_norm.weight", ZERO(64))
    both = {**tensors, norm.name: norm}
    assert read_adapter(metadata_for("llama", 1.0), both, "a.gguf", graph).keys() == {
        name.rpartition(".")[0] for name in tensors
    }
