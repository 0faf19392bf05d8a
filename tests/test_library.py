"""What a program sees of the library: signatures, names of others, texts of objects, notebooks."""

from __future__ import annotations

import inspect
import json
import pydoc
import sys
import types
from typing import get_type_hints

import numpy as np
import pytest

import qrt
from qrt.api.asking import AnswerKeywords
from qrt.api.generates import Generates
from qrt.compat.llama_cpp import Llama
from qrt.runtime import foreign
from qrt.runtime.options import GenerateOptions
from qrt.runtime.sampler import SamplingParams

OPTIONS = {"max_tokens": 4, "seed": 1, "ignore_eos": True}
GENERATING = [
    method
    for method in (*vars(Generates).values(), qrt.Model.generate_many)
    if "options" in getattr(method, "__annotations__", {}) and method.__name__[0] != "_"
]


def test_there_are_eleven_ways_to_generate():
    assert len(GENERATING) == 11


@pytest.mark.parametrize("method", GENERATING, ids=lambda method: method.__name__)
def test_help_lists_every_option_with_its_default(method):
    parameters = inspect.signature(method).parameters
    assert get_type_hints(AnswerKeywords).keys() <= parameters.keys()
    assert parameters["temperature"].default == SamplingParams().temperature
    assert parameters["max_tokens"].default is GenerateOptions().max_tokens
    text = pydoc.plain(pydoc.render_doc(method))
    assert "    top_k: int = 40\n" in text
    assert "top_k: keep the k largest" in text
    assert "stopping: functions (ids, text) -> bool" in text


def test_help_shows_the_defaults_of_llama_cpp_python():
    for method, temperature in ((Llama.__call__, 0.8), (Llama.create_chat_completion, 0.2)):
        assert inspect.signature(method).parameters["temperature"].default == temperature
        assert "    top_p: float = 0.95\n" in pydoc.plain(pydoc.render_doc(method))


def test_the_names_of_other_libraries_are_told_ours(model):
    known = set(get_type_hints(AnswerKeywords))
    assert set(foreign.OF_GENERATING.values()) <= known
    assert not known & {*foreign.OF_GENERATING, *foreign.INSTEAD_GENERATING}
    for name, ours in foreign.OF_GENERATING.items():
        with pytest.raises(qrt.InputError, match=f"unknown option '{name}'; it is '{ours}' here"):
            model.generate("abc", **{name: 1})
    for name in foreign.INSTEAD_GENERATING:
        with pytest.raises(qrt.InputError, match=f"unknown option '{name}'; [^{{]"):
            model.chat([], **{name: 1})
    with pytest.raises(qrt.InputError, match=r"template_vars=\{'enable_thinking': \.\.\.\}"):
        model.chat([], enable_thinking=True)
    assert issubclass(qrt.UnknownOptionError, qrt.InputError)
    with pytest.raises(TypeError, match="did you mean 'temperature'"):
        model.generate("abc", temprature=1)


def test_load_knows_the_names_of_other_libraries():
    known = set(inspect.signature(qrt.load).parameters) - {"foreign"}
    assert set(foreign.OF_LOADING.values()) <= known
    assert not known & {*foreign.OF_LOADING, *foreign.INSTEAD_LOADING}
    for name, ours in foreign.OF_LOADING.items():
        with pytest.raises(qrt.InputError, match=f"unknown option '{name}'; it is '{ours}' here"):
            qrt.load(**{name: "x"})
    with pytest.raises(qrt.InputError, match="'n_gpu_layers'; leave it out: qrt runs on the CPU"):
        qrt.load(n_gpu_layers=-1)
    with pytest.raises(qrt.UnknownOptionError, match="did you mean 'n_threads'"):
        qrt.load(n_thread=2)


def test_objects_show_what_they_are_in_a_line(model):
    stream = model.stream("abc", **OPTIONS)
    assert repr(stream) == "<qrt.Stream, 0 tokens, seed 1, not begun>"
    next(stream)
    assert repr(stream) == "<qrt.Stream, 1 tokens, seed 1, running>"
    stream.close()
    assert repr(stream) == "<qrt.Stream, 1 tokens, seed 1, ended>"
    answer = model.generate("abc", **OPTIONS)
    assert str(answer) == f"{answer}" == answer._repr_markdown_() == answer.text
    assert f"{answer:>60}" == answer.text.rjust(60)
    assert repr(answer) == f"<qrt.Completion {answer.text!r}, 4 tokens, length>"
    with model.session() as session:
        session.generate([5, 6], **OPTIONS)
        assert repr(session) == "<qrt.Session, 5 tokens stored>"
    assert repr(model).startswith("<qrt.Model ")


def test_records_become_dictionaries_that_json_holds(model):
    answer = model.generate("abc", logprobs=2, **OPTIONS)
    told = json.loads(json.dumps(answer.to_dict()))
    assert told["tokens"] == list(answer.tokens)
    assert told["top_logprobs"][0][0] == list(answer.top_logprobs[0][0])
    assert told["timings"] == answer.timings.to_dict()
    assert told.keys() == {name for name in answer.__slots__ if name[0] != "_"}
    (*_, last) = model.stream("abc", **OPTIONS)
    assert json.loads(json.dumps(last.to_dict()))["timings"]["n_tokens"] == 4
    assert json.dumps(model.info.to_dict())


def test_logits_take_text(model):
    np.testing.assert_array_equal(model.logits("abc"), model.logits(model.tokenize("abc")))
    with pytest.raises(qrt.InputError, match="the prompt is empty"):
        model.logits("")


def test_an_answer_is_printed_as_it_comes(model, capsys):
    answer = qrt.show(model.stream("abc", **OPTIONS))
    assert answer.tokens == model.generate("abc", **OPTIONS).tokens
    assert capsys.readouterr().out == f"{answer.text}\n"


def test_a_notebook_shows_a_growing_answer_as_markdown(model, monkeypatch, capsys):
    cells = []

    class Handle:
        update = staticmethod(cells.append)

    shell = types.SimpleNamespace(kernel=object())
    display = types.SimpleNamespace(Markdown=str, display=lambda *_, **__: Handle())
    ipython = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr("qrt.api.notebook._SECONDS_BETWEEN", 0)
    answer = qrt.show(model.stream("abc", **OPTIONS))
    assert cells == [answer.text[: i + 1] for i in range(4)]
    assert capsys.readouterr().out == ""
    shell.kernel = None  # IPython in a terminal
    qrt.show(model.stream("abc", **OPTIONS))
    assert capsys.readouterr().out == f"{answer.text}\n"
