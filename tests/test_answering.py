"""Models with an encoder and a decoder: steps, generations, and what of the text is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kernels import nmse
from served import NAME, served
from steps import Logits, Model, answered, logits_of, prepare, segment, step
from tiny_encoders import N_ENCODED
from tiny_models import metadata_of, tensors_of
from tiny_parts import N_CTX, N_VOCAB, TOKENS

import qrt
from qrt.arch import build_graph
from qrt.backends import cpu, reference
from qrt.errors import BackendError, ContextFullError, InputError
from qrt.formats.writer import write_gguf
from qrt.graph.batch import Segment
from qrt.progress import no_progress
from qrt.tools.bench import BenchOptions, bench
from qrt.tools.chunks import QualityOptions
from qrt.tools.perplexity import perplexity

TEXT, REST = TOKENS[:N_ENCODED], TOKENS[N_ENCODED:]

EOS = 1
LETTERS = ["<pad>", "</s>", "<unk>", *map(chr, range(97, 123)), *(f"<{i}>" for i in range(35))]
VOCABULARY: dict[str, object] = {
    "tokenizer.ggml.model": "t5",
    "tokenizer.ggml.tokens": LETTERS,
    "tokenizer.ggml.scores": np.full(64, -1, np.float32),
    "tokenizer.ggml.token_type": np.array([3, 3, 2] + [1] * 61, np.int32),
    "tokenizer.ggml.add_space_prefix": False,
    "tokenizer.ggml.add_eos_token": True,
    "tokenizer.ggml.eos_token_id": EOS,
}


def tiny(name: str = "t5") -> Model:
    metadata, tensors = metadata_of(name), tensors_of(name)
    return build_graph(metadata, tensors, "tiny", 2 * N_CTX), tensors


def text(tokens: np.ndarray, table: np.ndarray) -> Segment:
    return replace(segment(tokens, 0, table, ()), n_encoded=len(tokens))


def behind(n_encoded: int, tokens: np.ndarray, at: int, table: np.ndarray) -> Segment:
    return replace(segment(tokens, n_encoded + at, table), n_encoded=n_encoded)


def test_answers_of_a_step_do_not_see_each_other_nor_texts() -> None:
    """A text is read in the same step in which other texts are answered."""
    model = prepare(cpu, tiny(), capacities=(6,))
    first, second, third = np.int32([1]), np.int32([3, 4]), np.int32([5])
    other = np.tile(TOKENS[::-1], 2)[:70]
    step(model, text(TEXT, first), text(other, second))
    here = [behind(N_ENCODED, REST[:5], 0, first), behind(70, REST[:2], 0, second)]
    both = step(model, here[0], text(TOKENS[:1], third), here[1])
    assert both.shape == (7, N_VOCAB)
    alone = answered(model, TOKENS[: N_ENCODED + 5], 1)
    assert both[:5].tobytes() == alone.tobytes()
    alone = answered(model, np.concatenate([other, REST[:2]]), 99, 70)
    assert both[5:].tobytes() == alone.tobytes()
    got = step(model, behind(1, REST[:3], 0, third))
    wanted = answered(model, np.concatenate([TOKENS[:1], REST[:3]]), 99, 1)
    assert got.tobytes() == wanted.tobytes()
    model.close()


@pytest.mark.parametrize(("name", "kv_type"), [("t5", "f16"), ("t5@plain", "q8_0")])
def test_a_long_answer_to_a_long_text(name: str, kv_type: str) -> None:
    """Both take several splits of the softmax; the last distances have one bias."""
    tokens = np.tile(TOKENS, 10)[:372]
    options = {"kv_type": kv_type, "n_encoded": 70}
    got, expected = (
        logits_of(each, tiny(name), tokens, 150, **options) for each in (cpu, reference)
    )
    assert nmse(got, expected) < (1e-6 if kv_type == "f16" else 1e-3)
    one = logits_of(cpu, tiny(name), tokens, 31, n_threads=1, **options)
    assert one.tobytes() == got.tobytes()


@pytest.mark.parametrize("backend", [reference, cpu])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (segment(TEXT), "the model's decoder answers a text that its encoder has read"),
        (replace(segment(TEXT), n_encoded=17), "expected all 17 rows of a text that is encoded, w"),
        (
            replace(segment(TEXT[:9], 0, logit_rows=()), n_encoded=17),
            "without logits, got 9 from 0",
        ),
        (replace(segment(TEXT, 0, logit_rows=()), n_encoded=9), "expected all 9 rows"),
        (replace(segment(REST, 9, logit_rows=()), n_encoded=32), "got 23 from 9"),
    ],
)
def test_rows_that_no_text_is_behind_are_errors(
    backend: object, wrong: Segment, message: str
) -> None:
    model = prepare(backend, tiny(), capacities=(6,))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        step(model, wrong)
    model.close()


def test_texts_and_answers_have_room_apart() -> None:
    """As many rows as a step takes may be read, and as many answered beside them."""
    model = prepare(cpu, tiny(), capacities=(8,), max_rows=40)
    step(model, text(TOKENS, np.int32([0])))
    others = [behind(40, TOKENS[:20], 0, np.int32([0])), text(TOKENS, np.int32([1]))]
    alone: Logits = answered(model, np.concatenate([TOKENS, TOKENS[:20]]), 99, 40)
    assert step(model, *others).tobytes() == alone.tobytes()
    with pytest.raises(InputError, match="a step has 1 to 40 rows, got 41"):
        step(model, *others[1:], text(TOKENS[:1], np.int32([2])))
    model.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose words are letters."""
    path = tmp_path_factory.mktemp("answering") / "t5.gguf"
    found = [(t.name, t.qtype, tuple(t.shape), t.source) for t in tensors_of("t5").values()]
    write_gguf(path, {**metadata_of("t5"), **VOCABULARY}, found)
    return path


@pytest.fixture(scope="module")
def model(file: Path) -> Iterator[qrt.Model]:
    with qrt.load(file) as loaded:
        yield loaded


GREEDY = {"temperature": 0.0, "ignore_eos": True}
SAMPLED = {"temperature": 1.0, "seed": 5, "ignore_eos": True}


def by_hand(prompt: Sequence[int], n: int) -> list[int]:
    """The likeliest answer by the reference, each token with all that precede it."""
    found = [5]
    for _ in range(n):
        tokens = [*prompt, *found]
        logits = logits_of(reference, tiny(), tokens, kv_type="f16", n_encoded=len(prompt))[-1]
        logits[EOS] = -np.inf
        found.append(int(logits.argmax()))
    return found[1:]


def test_an_answer_begins_behind_the_token_for_that(model: qrt.Model) -> None:
    prompt = TOKENS[:30].tolist()
    done = model.generate(prompt, max_tokens=9, **GREEDY)
    assert [*done.tokens] == by_hand(prompt, 9)
    assert (done.n_prompt_tokens, model.info.n_ctx) == (31, 512)
    done = model.generate("abcab", max_tokens=3, **GREEDY)
    assert [*done.tokens] == by_hand([3, 4, 5, 3, 4, EOS], 3)
    chat = [{"role": "user", "content": "x"}, {"role": "user", "content": "abcab"}]
    assert model.chat(chat, max_tokens=3, **GREEDY).tokens == done.tokens
    with pytest.raises(ContextFullError, match="the prompt has 512 tokens, the context holds 512"):
        model.generate([7] * 511)
    assert len(model.generate([7] * 500, **GREEDY).tokens) == 512 - 501
    with model.session() as session:
        done = session.generate([7] * 200, max_tokens=400, context_shift=True, **GREEDY)
        assert len(done.tokens) == 400
        assert session._seq is not None
        assert session._seq.tokens[:201] == [*[7] * 200, 5]
    model._core.engine.check_integrity()


def test_who_asks_beside_others_has_the_same_answer(file: Path) -> None:
    """Texts of all lengths, and so little room that some give way and are read again."""
    prompts = [TOKENS[: 3 + 4 * i].tolist() * (1 + 3 * (i % 3)) for i in range(6)]

    async def together(model: qrt.Model) -> list[list[int]]:
        asked = [model.agenerate(each, max_tokens=70, **SAMPLED) for each in prompts]
        return [done.tokens for done in await asyncio.gather(*asked)]

    with qrt.load(file, kv_bytes=0, n_ctx=400) as narrow, qrt.load(file, n_ctx=400) as wide:
        alone = [wide.generate(each, max_tokens=70, **SAMPLED).tokens for each in prompts]
        assert asyncio.run(together(wide)) == alone
        assert asyncio.run(together(narrow)) == alone
        assert narrow.health.counts.n_preempted > 0
        narrow._core.engine.check_integrity()


def test_a_text_is_read_once_for_all_who_ask_about_it(model: qrt.Model) -> None:
    text, other = TOKENS[:33].tolist() * 3, [*TOKENS[:33].tolist() * 3, 1]
    first = model.generate(text, max_tokens=5, **SAMPLED)
    assert first.timings.n_cached_tokens == 0
    again = model.generate(text, max_tokens=5, **SAMPLED)
    assert (again.tokens, again.timings.n_cached_tokens) == (first.tokens, 99)
    for longer, n_cached in ((other, 0), (other, 100), (text[:64], 0), (text[:64], 64)):
        done = model.generate(longer, max_tokens=5, **SAMPLED)
        assert done.timings.n_cached_tokens == n_cached
        apart = model.generate(longer, max_tokens=5, cache_prompt=False, **SAMPLED)
        assert (done.tokens, apart.timings.n_cached_tokens) == (apart.tokens, 0)
    many = model.generate_many([TOKENS[::-1].tolist() * 2] * 3, max_tokens=5, **SAMPLED)
    assert sorted(done.timings.n_cached_tokens for done in many) == [0, 80, 80]
    model._core.engine.check_integrity()


def test_sessions_and_their_branches_read_each_text_anew(model: qrt.Model) -> None:
    one, two = TOKENS[:20].tolist() * 4, TOKENS[:20].tolist() * 3
    wanted = [model.generate(each, max_tokens=40, **SAMPLED).tokens for each in (one, two)]
    with model.session() as session:
        assert session.generate(one, max_tokens=40, **SAMPLED).tokens == wanted[0]
        with session.fork() as branch:
            assert branch.generate(one, max_tokens=40, **SAMPLED).tokens == wanted[0]
            assert branch.generate(two, max_tokens=40, **SAMPLED).tokens == wanted[1]
        assert session.generate(one, max_tokens=40, **SAMPLED).tokens == wanted[0]
        stream = session.stream(two, **SAMPLED)
        assert [next(stream).token for _ in range(7)] == [*wanted[1][:7]]
        stream.close()
        assert session.generate(two, max_tokens=40, **SAMPLED).tokens == wanted[1]
    model._core.engine.check_integrity()


def test_what_needs_a_language_model_says_so(model: qrt.Model, file: Path) -> None:
    with pytest.raises(InputError, match="answers a text that its encoder has read"):
        model.logits("abc")
    with pytest.raises(BackendError, match="t5 cannot be cut"):
        qrt.load(file, layers={"0": "reference"})
    with qrt.load(file, embedding=True) as vectors:
        assert vectors.embed(["abc"]).shape == (1, 64)
        with pytest.raises(InputError, match="makes vectors of texts"):
            vectors.generate("abc")


def test_answers_over_http(model: qrt.Model) -> None:
    wanted = model.generate("abcab", max_tokens=6, **GREEDY).text
    with served(model) as server:
        asked = {"model": NAME, "prompt": "abcab", "max_tokens": 6, "temperature": 0}
        done = server.ask("/v1/completions", {**asked, "n": 3}).json
        assert [choice["text"] for choice in done["choices"]] == [wanted] * 3
        asked = {"prompt": "abcab", "n_predict": 6, "temperature": 0, "stream": True}
        parts = server.ask("/completion", asked).events
        assert "".join(part["content"] for part in parts) == wanted
        scored = {"model": NAME, "prompt": "abcab", "max_tokens": 1, "echo": True, "logprobs": 1}
        reply = server.ask("/v1/completions", scored)
        assert reply.status == 400
        assert "it gives nothing for rows of a text alone" in reply.json["error"]["message"]


def test_reading_and_answering_are_measured(file: Path) -> None:
    options = BenchOptions(n_prompt=(20,), n_gen=(4,), n_depth=(0, 9), n_threads=(1,))
    results = list(bench(file, options, no_progress))
    assert [result.test.name for result in results] == ["pp20", "tg4", "tg4 @ d9"]
    with pytest.raises(InputError, match="answers a text that its encoder has read"):
        perplexity(file, "abc" * 99, QualityOptions(n_ctx=64), no_progress)
