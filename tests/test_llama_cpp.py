"""`qrt.compat.llama_cpp.Llama`: programs for llama-cpp-python, over the embedded model."""

from __future__ import annotations

import json
import logging
import pickle
import re

import numpy as np
import pytest
from fakes import together

import qrt
from qrt.compat.llama_cpp import (
    ChatCompletionMessage,
    Llama,
    LlamaCache,
    LlamaGrammar,
    LogitsProcessorList,
    StoppingCriteriaList,
)
from qrt.compat.llama_cpp.requests import ChatRequest, CompletionRequest
from qrt.config import embedded_model

PATH = str(embedded_model())
QUESTION = "What does os.path.join do?"
MESSAGES = [ChatCompletionMessage(role="user", content=QUESTION)]
SHARED_DEFAULTS = {
    "top_p": 0.95,
    "min_p": 0.05,
    "typical_p": 1.0,
    "top_k": 40,
    "repeat_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "mirostat": 0,
    "mirostat_tau": 5.0,
    "mirostat_eta": 0.1,
    "stop": (),
    "logprobs": 0,
}


@pytest.fixture(scope="module")
def llm():
    with Llama(model_path=PATH, n_gpu_layers=-1, use_mmap=True, verbose=False) as llm:
        yield llm


def text_of(chunks):
    return "".join(chunk["choices"][0]["text"] for chunk in chunks)


def test_a_completion_with_echo_and_stop(llm):
    whole = llm("`os.path", max_tokens=24, temperature=0)["choices"][0]["text"]
    output = llm("`os.path", max_tokens=24, stop=["Q:", "\n"], echo=True, temperature=0)
    told = json.loads(json.dumps(output))
    (choice,) = told["choices"]
    assert choice["text"] == "`os.path" + whole.partition("\n")[0]
    assert (choice["index"], choice["logprobs"], choice["finish_reason"]) == (0, None, "stop")
    assert (told["object"], told["model"]) == ("text_completion", PATH)
    assert told["id"].startswith("cmpl-")
    assert told["usage"]["prompt_tokens"] == len(llm.tokenize(b"`os.path"))
    assert told["usage"]["total_tokens"] == sum(list(told["usage"].values())[:2])


def test_a_streamed_completion(llm):
    options = {"max_tokens": 9, "temperature": 0}
    *parts, last = llm.create_completion("`os.path", stream=True, **options)
    assert text_of(parts) == llm.create_completion("`os.path", **options)["choices"][0]["text"]
    assert {chunk["id"] for chunk in parts} == {last["id"]}
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in parts)
    assert last["choices"] == [
        {"text": "", "index": 0, "logprobs": None, "finish_reason": "length"}
    ]
    assert len(parts) > 1


def test_a_chat_and_a_streamed_one(llm):
    output = llm.create_chat_completion(MESSAGES, temperature=0)
    (choice,) = output["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"].startswith("`os.path.join(a, *p)`: Join two or more")
    assert (output["object"], choice["finish_reason"]) == ("chat.completion", "stop")
    first, *parts, last = llm.create_chat_completion(MESSAGES, temperature=0, stream=True)
    assert first["choices"][0]["delta"] == {"role": "assistant"}
    told = "".join(chunk["choices"][0]["delta"]["content"] for chunk in parts)
    assert told == choice["message"]["content"]
    assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == ({}, "stop")
    assert last["object"] == "chat.completion.chunk"


def test_log_probabilities(llm):
    output = llm("`os.path", max_tokens=5, temperature=0, logprobs=3)
    (choice,) = output["choices"]
    told = choice["logprobs"]
    assert told["text_offset"] == [
        len("`os.path") + len("".join(told["tokens"][:i])) for i in range(5)
    ]
    for token, logprob, top in zip(
        told["tokens"], told["token_logprobs"], told["top_logprobs"], strict=True
    ):
        assert top[token] == logprob == max(top.values())
        assert len(top) == 3
    echoed = llm("`os.path", max_tokens=5, temperature=0, logprobs=3, echo=True)["choices"][0]
    n_prompt = len(llm.tokenize(b"`os.path")) - 1  # without BOS
    assert echoed["logprobs"]["tokens"][n_prompt:] == told["tokens"]
    assert echoed["logprobs"]["token_logprobs"][n_prompt:] == told["token_logprobs"]
    assert echoed["logprobs"]["token_logprobs"][0] is echoed["logprobs"]["top_logprobs"][0] is None
    assert all(logprob < 0 for logprob in echoed["logprobs"]["token_logprobs"][1:])
    parts = list(llm("`os.path", max_tokens=5, temperature=0, logprobs=3, stream=True))[:-1]
    offsets = [offset for part in parts for offset in part["choices"][0]["logprobs"]["text_offset"]]
    assert offsets == told["text_offset"]
    chat = llm.create_chat_completion(
        MESSAGES, temperature=0, max_tokens=3, logprobs=True, top_logprobs=2
    )
    content = chat["choices"][0]["logprobs"]["content"]
    assert "".join(entry["token"] for entry in content) == chat["choices"][0]["message"]["content"]
    assert [len(entry["top_logprobs"]) for entry in content] == [2, 2, 2]


@pytest.mark.parametrize(
    ("request_", "own"),
    [
        (CompletionRequest(), {"temperature": 0.8, "max_tokens": 16}),
        (ChatRequest(), {"temperature": 0.2, "max_tokens": None}),
    ],
)
def test_defaults_are_that_librarys_whatever_the_file_recommends(request_, own):
    options = request_.options({"temperature": 0.6, "top_n_sigma": 1.0, "samplers": ("top_k",)})
    assert options.items() >= {**SHARED_DEFAULTS, **own, "top_n_sigma": -1.0}.items()
    assert options["samplers"] == qrt.SamplingParams().samplers


def test_tokens(llm):
    ids = llm.tokenize("naïve </s>".encode())
    assert ids[0] == llm.token_bos()
    assert llm.token_eos() not in ids
    assert llm.tokenize(b"</s>", add_bos=False, special=True)[-1] == llm.token_eos()
    assert llm.detokenize(ids).decode() == "naïve </s>"
    assert b"".join(llm.detokenize([token]) for token in ids).strip() == "naïve </s>".encode()
    assert llm.detokenize([llm.token_nl()]) == b"\n"
    assert (llm.n_ctx(), llm.n_vocab(), llm.n_embd()) == (512, 4096, 512)
    assert llm.metadata["general.architecture"] == "llama"
    assert [t for t, _ in zip(llm.generate(ids, temp=0), range(3), strict=False)]


def test_processors_and_criteria_get_arrays(llm):
    seen = []

    def ends(ids, logits):
        seen.append((ids.dtype, ids.shape, logits.shape))
        return ids.size >= 10

    def only_five(ids, logits):
        assert ids.dtype == np.intc
        return np.where(np.arange(logits.size) == 5, logits, -np.inf)

    prompt = llm.tokenize(b"`os.path")
    output = llm(
        prompt,
        max_tokens=30,
        logits_processor=LogitsProcessorList([only_five]),
        stopping_criteria=StoppingCriteriaList([ends]),
    )
    n_tokens = 10 - len(prompt)
    assert output["usage"]["completion_tokens"] == n_tokens
    assert output["choices"][0]["finish_reason"] == "stop"
    assert seen[-1] == (np.intc, (10,), (4096,))


def test_seeds(llm):
    def texts(**options):
        return [llm("The", temperature=2.0, **options)["choices"][0]["text"] for _ in range(2)]

    def chain(seed):
        llm.set_seed(seed)
        return texts()

    assert chain(7) == chain(7) != chain(8)
    assert len(set(chain(7))) == len(set(chain(-1))) == len(set(texts(seed=-1))) == 2
    assert len(set(texts(seed=3))) == 1


def test_streams_run_beside_each_other(llm):
    alone = llm("`os.path", max_tokens=9, temperature=0)["choices"][0]["text"]
    first = llm("`os.path", max_tokens=9, temperature=0, stream=True)
    begun = next(first)
    llm.set_cache(LlamaCache())
    llm.reset()
    assert llm("`os.path", max_tokens=9, temperature=0)["choices"][0]["text"] == alone
    assert text_of([begun, *first]) == alone


def test_threads_share_it(llm):
    prompts = ["`os.path", "What does", "import", "def f("]

    def told(prompt):
        return llm(prompt, max_tokens=12, temperature=0)["choices"][0]["text"]

    alone = [told(prompt) for prompt in prompts]
    assert together([lambda p=p: told(p) for p in prompts * 2]) == alone * 2


def test_a_suffix_goes_behind_where_nothing_can_be_filled_in(llm):
    options = {"prompt": "def add(", "temperature": 0.0}
    plain = llm.create_completion(**options)["choices"][0]["text"]
    filled = llm.create_completion(suffix="\n    return sum\n", **options)
    assert filled["choices"][0]["text"] == plain + "\n    return sum\n"


def test_a_suffix_is_what_the_middle_is_filled_before(llm, monkeypatch):
    marks = {"fim_pre": 5, "suffix": 6, "fim_mid": 7}
    keys = {f"tokenizer.ggml.{role}_token_id": token for role, token in marks.items()}
    monkeypatch.setattr(qrt.Model, "metadata", keys)
    seen = []

    def watch(ids, logits):
        seen.append(ids.tolist())
        return logits

    first, last = (llm.tokenize(text, add_bos=False) for text in (b"def f(", b"return x"))
    for spm, rest in ((False, [5, *first, 6, *last]), (True, [6, *last, 5, *first])):
        monkeypatch.setattr(llm, "spm_infill", spm)
        options = {"max_tokens": 1, "temperature": 0, "logits_processor": watch}
        filled = llm("def f(", suffix="return x", **options)
        assert seen.pop() == [llm.token_bos(), *rest, 7]
        assert "return x" not in filled["choices"][0]["text"]


def test_grammars_and_json(llm, tmp_path):
    def said(**options):
        return llm("x", max_tokens=32, seed=1, **options)["choices"][0]["text"]

    text = 'root ::= "<" [a-z]{2} ">"'
    (tmp_path / "g").write_text(text)
    for grammar in (LlamaGrammar.from_string(text), LlamaGrammar.from_file(tmp_path / "g")):
        assert re.fullmatch("<[a-z]{2}>", said(grammar=grammar))
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]}
    schema["additionalProperties"] = False
    assert json.loads(said(grammar=LlamaGrammar.from_json_schema(json.dumps(schema))))["a"] in (
        1,
        2,
    )
    answer = llm.create_chat_completion(
        [{"role": "user", "content": "x"}],
        response_format={"type": "json_object", "schema": schema},
        seed=1,
    )
    assert json.loads(answer["choices"][0]["message"]["content"])["a"] in (1, 2)


ASKED = [{"role": "user", "content": "When is it?"}]
TOOLS = [{"type": "function", "function": {"name": "now", "parameters": {"properties": {}}}}]


def test_tools(llm):
    pytest.importorskip("llguidance")
    asked = {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "now"}}}
    options = {**asked, "max_tokens": 80, "seed": 3, "temperature": 0}
    [choice] = llm.create_chat_completion(ASKED, **options)["choices"]
    first = choice["message"]["tool_calls"][0]
    assert (choice["message"]["content"], first["type"]) == (None, "function")
    assert first["function"]["name"] == "now"
    chunks = [c["choices"][0] for c in llm.create_chat_completion(ASKED, stream=True, **options)]
    assert chunks[0]["delta"] == {"role": "assistant"}
    assert chunks[-1]["finish_reason"] == choice["finish_reason"]
    deltas = [d for c in chunks for d in c["delta"].get("tool_calls", ()) if d["index"] == 0]
    assert deltas[0]["function"] == {"name": "now", "arguments": ""}
    arguments = "".join(delta["function"]["arguments"] for delta in deltas)
    assert arguments == first["function"]["arguments"]
    none = llm.create_chat_completion(ASKED, tools=TOOLS, tool_choice="none", max_tokens=2)
    assert "tool_calls" not in none["choices"][0]["message"]


def test_pickle(llm):
    with pickle.loads(pickle.dumps(llm)) as twin:
        assert twin.model_path == llm.model_path
        assert twin.n_ctx() == llm.n_ctx()


def test_embeddings():
    with Llama(PATH, embedding=True) as llm, qrt.load(PATH, embedding=True) as model:
        texts = ["a text", "another one"]
        rows = model.embed(texts, pooling="none", normalize=False)
        assert llm.embed(texts) == [one.tolist() for one in rows]  # the file names no pooling
        assert (llm.pooling_type(), llm.n_embd()) == (0, model.info.dim)
        with pytest.raises(qrt.InputError, match="vectors of texts"):
            llm("x")
    with Llama(PATH, embedding=True, pooling_type=1) as llm:
        means = [one.astype(float).mean(axis=0) for one in rows]
        found, n_tokens = llm.embed("a text", normalize=False, return_count=True)
        np.testing.assert_allclose(found, means[0], rtol=1e-5)
        assert n_tokens == len(rows[0])
        assert np.linalg.norm(llm.embed("a text", normalize=True)) == pytest.approx(1)
        response = llm.create_embedding(texts, model="m")
        np.testing.assert_allclose(response["data"][1]["embedding"], means[1], rtol=1e-5)
        n_tokens = sum(map(len, rows))
        assert response["usage"] == {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
        assert (response["object"], response["model"]) == ("list", "m")
        assert len(llm.embed("word " * 600)) == llm.n_embd()
        with pytest.raises(qrt.ContextFullError):
            llm.embed("word " * 600, truncate=False)
    with pytest.raises(qrt.InputError, match="pooling_type must be"):
        Llama(PATH, embedding=True, pooling_type=4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m.embed("text"), qrt.InputError, "embedding=True"),
        (lambda m: m.create_embedding("text"), qrt.InputError, "embedding=True"),
        (lambda m: m("x", grammar="root"), qrt.InputError, "grammar must be a LlamaGrammar"),
        (
            lambda m: m("x", grammar=LlamaGrammar.from_string("root ::= (")),
            qrt.InputError,
            "the grammar is wrong",
        ),
        (
            lambda m: m.create_chat_completion(ASKED, tools=TOOLS, tool_choice={"name": "b"}),
            qrt.InputError,
            "expected one of auto, none, required, now",
        ),
        (lambda m: m("x " * 600), ValueError, "exceed context window of 512"),
        (lambda m: m("x", temp=1), TypeError, "temp"),
        (lambda m: m("x", top_k="many"), qrt.InputError, "top_k must be an integer"),
        (lambda _: Llama("/nowhere.gguf"), ValueError, "does not exist: /nowhere.gguf"),
        (lambda _: Llama(__file__), ValueError, "not a GGUF file"),
        (lambda _: Llama(PATH, lora_base="a"), qrt.InputError, "lora_base: qrt does not do that"),
        (lambda _: Llama(PATH, lora_path="a.gguf"), ValueError, "a.gguf: no such file"),
        (lambda _: Llama(PATH, n_gpu_layer=1), qrt.InputError, "did you mean 'n_gpu_layers'"),
        (lambda _: Llama(PATH, type_k=3), qrt.InputError, "type_k must be 0 .F32., 1"),
        (lambda _: Llama.from_pretrained("name", "*"), qrt.InputError, "must be OWNER/NAME"),
    ],
)
def test_what_is_refused(llm, call, error, message):
    with pytest.raises(error, match=message):
        call(llm)


def test_a_context_is_at_most_what_the_model_was_trained_for(caplog):
    with caplog.at_level(logging.WARNING, "qrt"), Llama(PATH, n_ctx=4096, type_v=8) as llm:
        assert llm.n_ctx() == 512
    assert "the model was trained for 512, which is used" in caplog.text
    with Llama(PATH, n_ctx=0) as llm:
        assert llm.n_ctx() == 512


def test_chat_formats(llm, caplog):
    n_own = llm.create_chat_completion(MESSAGES, max_tokens=1)["usage"]["prompt_tokens"]
    for name, differs in (("chatml", True), ("llama-2", True), ("functionary", False)):
        with Llama(PATH, chat_format=name) as other:
            usage = other.create_chat_completion(MESSAGES, max_tokens=1)["usage"]
        assert (usage["prompt_tokens"] != n_own) == differs
    assert "chat_format 'functionary' is not known, the file's own" in caplog.text


def test_from_pretrained(hub, hub_cache):
    hub.files = {"model-Q8_0.gguf": embedded_model().read_bytes(), "model-Q4_0.gguf": b"GGUF"}
    with pytest.raises(ValueError, match=r"several files match '\*' of .*Q4_0.gguf, model-Q8_0"):
        Llama.from_pretrained(hub.repo, "*")
    with pytest.raises(ValueError, match="no file matches"):
        Llama.from_pretrained(hub.repo, "*.bin")
    with Llama.from_pretrained(hub.repo, "*8_0.gguf", n_ctx=64, local_dir="unused") as llm:
        assert str(hub_cache) in llm.model_path
        assert llm.n_ctx() == 64
    hub.status = 500  # it is kept
    Llama.from_pretrained(hub.repo, "*8_0.gguf").close()
