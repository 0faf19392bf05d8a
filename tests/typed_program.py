"""A program that makes every public call, for type checkers; it runs too, on the embedded model."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import Mapping
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import qrt
from qrt.compat.llama_cpp import Llama, LogitsProcessorList, StoppingCriteriaList
from qrt.config import embedded_model
from qrt.replies import CallArguments, CallBegun, CallEnded, Event, Text, Thought

PATH = str(embedded_model())
MESSAGES = [{"role": "user", "content": "What does os.path.join do?"}]


def same(_ids: list[int], logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """A processor that changes nothing."""
    return logits


def never(_ids: list[int], _text: str) -> bool:
    """A criterion that is not met."""
    return False


def results(model: qrt.Model) -> None:
    """What generations give, and what is in it."""
    answer = assert_type(
        model.generate(
            "x", max_tokens=2, logprobs=2, logits_processors=[same], stopping=[never], stop=["#"]
        ),
        qrt.Completion,
    )
    assert_type(answer.text, str)
    assert_type(answer.tokens, tuple[int, ...])
    assert_type(answer.logprobs, tuple[float, ...])
    assert_type(answer.top_logprobs, tuple[tuple[tuple[int, float], ...], ...])
    assert_type(answer.to_dict(), dict[str, Any])
    assert_type(answer.seed + answer.n_prompt_tokens, int)
    assert answer.finish_reason in ("stop", "length", "cancelled")
    held = model.generate("x", grammar=qrt.Grammar("regex", "[0-9]"))
    assert len(held.text) == 1
    assert_type(held.parsed, Any)
    assert_type(model.chat(MESSAGES, response_format={"const": 1}).parsed, Any)
    timings = assert_type(answer.timings, qrt.Timings)
    assert_type(timings.ttft_s + timings.prefill_tok_s + timings.decode_tok_s, float)
    assert_type(timings.to_dict(), dict[str, Any])
    assert_type(model.chat(MESSAGES, max_tokens=2, temperature=0), qrt.Completion)
    assert_type(
        model.generate_many(["x", [5, 6]], batch_size=2, max_tokens=2), list[qrt.Completion]
    )


def adapters(model: qrt.Model) -> None:
    """Which there are, and how much of each is used."""
    for adapter in model.adapters:
        assert_type((adapter.name, adapter.path, adapter.scale), tuple[str, str, float])
    model.use_adapters({})
    model.generate("x", max_tokens=1, lora={})


def mistakes(model: qrt.Model) -> None:
    """What checkers and qrt both refuse."""
    for call in (
        lambda: model.generate("x", temp=1),  # type: ignore[call-arg]
        lambda: model.generate("x", top_k="many"),  # type: ignore[arg-type]
        lambda: qrt.load(n_gpu_layers=1),  # type: ignore[arg-type]
    ):
        try:
            call()
        except qrt.InputError as error:
            assert_type(error.http_status + error.exit_code, int)
        else:
            raise AssertionError("it was taken")


def streams(model: qrt.Model) -> None:
    """Records one by one."""
    with model.stream([5, 6], max_tokens=2, seed=1, cancel=threading.Event()) as stream:
        assert_type(stream, qrt.Stream)
        for record in stream:
            assert_type(record, qrt.TokenRecord)
            assert_type((record.text, record.token, record.logprob), tuple[str, int, float])
            assert_type(record.top_logprobs, tuple[tuple[int, float], ...])
            assert_type(record.timings, qrt.Timings | None)
            assert_type(record.to_dict(), dict[str, Any])
        assert_type(stream.seed + stream.n_prompt_tokens, int)
        assert_type(stream.timings, qrt.Timings)
        assert_type(stream.read(), list[qrt.TokenRecord])
        stream.close()
    chat = model.stream_chat(MESSAGES, template_vars={"quiet": None}, max_tokens=2)
    assert_type(chat, qrt.ChatStream)
    assert_type(qrt.show(chat), qrt.Completion)


def double(number: int) -> int:
    """Twice a number."""
    return 2 * number


def tools(model: qrt.Model) -> None:
    """Calls of functions, and the parts of a reply."""
    told = {"type": "function", "function": {"name": "halve", "parameters": {}}}
    done = model.chat(MESSAGES, tools=[double, told], tool_choice="auto", max_tokens=2)
    assert_type(done.tool_calls, tuple[qrt.ToolCall, ...])
    assert_type((done.content, done.reasoning), tuple[str, str])
    assert_type(done.messages, tuple[dict[str, Any], ...])
    model.chat(MESSAGES, tools=[double], run_tools=True, max_rounds=2, max_tokens=2)
    call = qrt.ToolCall("1", "double", '{"number": 2}')
    assert_type(call.values, dict[str, Any])
    assert_type(call.message(), dict[str, Any])
    stream = model.stream_chat(MESSAGES, tools=[double], tool_choice="none", max_tokens=2)
    for event in stream.events():
        assert_type(event, Event)
        match event:
            case Text(text) | Thought(text) | CallArguments(_, text):
                assert_type(text, str)
            case CallBegun(index, id_, name):
                assert_type((index, id_, name), tuple[int, str, str])
            case CallEnded(_, is_complete):
                assert_type(is_complete, bool)
    assert_type(stream.told([]), list[Event])


def grammars(model: qrt.Model) -> None:
    """What holds answers to a form."""
    model.check_grammar('root ::= "yes" | "no"')


async def tasks(model: qrt.Model) -> None:
    """The twins for event loops."""
    assert_type(await model.agenerate("x", max_tokens=2), qrt.Completion)
    assert_type(await model.achat(MESSAGES, max_tokens=2), qrt.Completion)
    async for record in model.astream("x", max_tokens=2):
        assert_type(record, qrt.TokenRecord)
    assert_type(await model.achat(MESSAGES, tools=[double], max_tokens=2), qrt.Completion)
    async for records in model.astream_batches("x", max_tokens=2):
        assert_type(records, list[qrt.TokenRecord])
    async for event in model.astream_events(MESSAGES, tools=[double], max_tokens=2):
        assert_type(event, Event)
    async with contextlib.aclosing(model.astream_chat(MESSAGES, max_tokens=2)) as stream:
        assert_type([record.text async for record in stream], list[str])


def sessions(model: qrt.Model) -> None:
    """Generations in a row."""
    with model.session() as session, session.fork() as branch:
        assert_type(branch, qrt.Session)
        assert_type(session.chat(MESSAGES, max_tokens=2), qrt.Completion)
        with tempfile.TemporaryDirectory() as folder:
            session.save_state(f"{folder}/state")
            assert_type(branch.load_state(f"{folder}/state"), int)
        branch.close()


def model_itself(model: qrt.Model) -> None:
    """What a model is, its tokens and its logits."""
    info = assert_type(model.info, qrt.ModelInfo)
    assert_type(info.n_ctx, int)
    assert_type(info.sampling, Mapping[str, Any])
    assert_type(info.to_dict(), dict[str, Any])
    assert_type(model.metadata, Mapping[str, object])
    assert_type(model.chat_template.source, str)
    assert_type(model.tokenize("x", add_special=False, parse_special=True), list[int])
    assert_type(model.tokenize_chat(MESSAGES), list[int])
    assert_type(model.detokenize([5], special=True), str)
    assert_type(model.tokenizer.eos_id, int | None)
    assert_type(model.logits("x", chunk=1), NDArray[np.float32])
    assert_type(model.placement(), list[tuple[str, str]])
    assert_type(qrt.load_tokenizer(PATH).tokenize("x"), list[int])
    assert_type(qrt.SamplingParams(top_k=3).top_k, int)


async def vectors() -> None:
    """Embeddings and ranks."""
    with qrt.load(PATH, embedding=True) as model:
        assert_type(model.embed("x"), NDArray[np.float32])
        assert_type(model.embed([[5, 6]], pooling="mean", dim=8), NDArray[np.float32])
        assert_type(model.embed(["x"], pooling="none"), list[NDArray[np.float32]])
        assert_type(await model.aembed(["x"], normalize=False), NDArray[np.float32])
        assert_type(model.rerank("x", ["y", "z"], truncate=True), list[tuple[int, float]])
        assert_type(await model.arerank("x", ["y"]), list[tuple[int, float]])
        assert_type(model.info.pooling, str | None)


def processor(_ids: NDArray[np.intc], scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """As llama-cpp-python has them."""
    return scores


def criterion(ids: NDArray[np.intc], _logits: NDArray[np.float32]) -> bool:
    """As llama-cpp-python has them."""
    return ids.size > 100


def of_llama_cpp() -> None:
    """llama-cpp-python's interface."""
    with Llama(model_path=PATH, n_ctx=64, n_gpu_layers=-1, verbose=False) as llm:
        output = llm(
            "x",
            max_tokens=2,
            logits_processor=LogitsProcessorList([processor]),
            stopping_criteria=StoppingCriteriaList([criterion]),
        )
        text: str = output["choices"][0]["text"]
        for chunk in llm.create_completion(text or "x", max_tokens=2, stream=True):
            print(chunk["choices"][0]["text"])
        print(llm.create_chat_completion(MESSAGES, max_tokens=2)["usage"])
        assert_type(llm.detokenize(llm.tokenize(b"x")), bytes)
        assert_type(llm.n_ctx() + llm.n_vocab() + llm.n_embd(), int)
        assert_type(llm.token_bos() + llm.token_eos() + llm.token_nl(), int)
        assert_type(next(llm.generate([5], temp=0.5)), int)


def main() -> None:
    """All of it."""
    loaded = qrt.load(None, n_ctx=512, n_threads=1, seed=1, kv_type="f16", backend="auto")
    with assert_type(loaded, qrt.Model) as model:
        streams(model)
        tools(model)
        sessions(model)
        model_itself(model)
        asyncio.run(tasks(model))
        results(model)
        adapters(model)
        mistakes(model)
        model.close()
    asyncio.run(vectors())
    of_llama_cpp()


if __name__ == "__main__":
    main()
