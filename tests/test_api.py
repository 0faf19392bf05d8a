"""The Python interface, over the reference backend and a vocabulary of a letter a token."""

from __future__ import annotations

import itertools
import lzma
import string
import threading
from pathlib import Path

import gguf
import numpy as np
import pytest
from fakes import PIECES
from letters import LETTERS

import qrt
from qrt.formats.gguf import open_gguf


def test_logits_are_those_of_the_oracle_in_any_chunks(data, model):
    oracle = np.load(data / "arch" / "llama-dense.npz")
    logits = model.logits(oracle["tokens"])
    assert logits.shape == (48, 128)
    assert logits.dtype == np.float32
    nmse = np.mean((logits - oracle["logits"]) ** 2) / np.mean(oracle["logits"] ** 2)
    assert nmse < 1e-5
    chunked = model.logits(oracle["tokens"], chunk=7)
    np.testing.assert_allclose(chunked, logits, atol=1e-5)
    decoded = model.logits(oracle["tokens"][:9], chunk=1)
    np.testing.assert_allclose(decoded, logits[:9], atol=1e-5)


def test_a_completion_puts_together_what_a_stream_yields(model):
    options = {"max_tokens": 9, "seed": 5}
    completion = model.generate("abc", **options)
    stream = model.stream("abc", **options)
    records = list(stream)
    assert completion.tokens == tuple(r.token for r in records)
    assert completion.text == "".join(r.text for r in records)
    assert completion.logprobs == pytest.approx([r.logprob for r in records], abs=1e-4)
    assert (completion.seed, stream.seed, completion.n_prompt_tokens) == (5, 5, 2)
    assert completion.finish_reason == records[-1].finish_reason == "length"
    assert completion.timings.n_tokens == 9
    assert model.generate(model.tokenize("abc"), **options).tokens == completion.tokens


def test_logprobs_are_those_of_the_logits(model):
    prompt = [5, 6, 7]
    completion = model.generate(prompt, max_tokens=4, temperature=0)
    logits = model.logits([*prompt, *completion.tokens])[2:-1].astype(np.float64)
    logprobs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert completion.tokens == tuple(logits.argmax(axis=1).tolist())
    np.testing.assert_allclose(completion.logprobs, logprobs.max(axis=1), atol=1e-3)


def test_seeds(make):
    options = {"max_tokens": 8, "temperature": 3.0, "top_k": 0, "min_p": 0.0}
    seeded = make(seed=3)
    assert seeded.generate("abc", **options).seed == 3
    assert seeded.generate("abc", **options) != make(seed=None).generate("abc", **options)
    free = make(seed=None)
    one, two = (free.generate("abc", **options) for _ in range(2))
    assert one.seed != two.seed
    assert free.generate("abc", seed=one.seed, **options).tokens == one.tokens


def test_cancelled_before_the_first_token(model):
    cancel = threading.Event()
    cancel.set()
    completion = model.generate("abc", cancel=cancel)
    assert (completion.finish_reason, completion.text, completion.tokens) == ("cancelled", "", ())


def test_dry_takes_its_breakers_from_the_vocabulary(model):
    options = {"max_tokens": 12, "temperature": 0, "dry_multiplier": 50.0, "dry_penalty_last_n": -1}
    plain = model.generate([5, 6, 5, 6, 5], **options)
    pairs = list(itertools.pairwise([5, 6, 5, 6, 5, *plain.tokens]))
    assert max(pairs.count(p) for p in pairs[4:]) < 4
    free = model.generate([5, 6, 5, 6, 5], dry_sequence_breakers=tuple(LETTERS), **options)
    assert free.tokens == model.generate([5, 6, 5, 6, 5], max_tokens=12, temperature=0).tokens


def test_threads_get_what_each_would_get_alone(model):
    prompts = [[5, 6], [7, 8, 9], [10]]
    alone = [model.generate(p, max_tokens=4).tokens for p in prompts]
    results: dict[int, tuple[int, ...]] = {}

    def run(i):
        results[i] = model.generate(prompts[i], max_tokens=4).tokens

    threads = [threading.Thread(target=run, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [results[i] for i in range(3)] == alone


def test_info_and_metadata(model, loaded):
    info = model.info
    assert (info.arch, info.dim, info.n_layers, info.n_vocab) == ("llama", 256, 2, 128)
    assert (info.n_ctx, info.n_ctx_train, info.backend) == (200, 256, "reference")
    tensors = loaded.file.tensors
    assert info.n_params == sum(t.data.size // t.qtype.block_bytes for t in tensors.values())
    assert 0 < info.n_active_params < info.n_params
    unread = ("token_embd.weight", "rope_freqs.weight")  # one row of it; folded into the graph
    read = sum(t.data.size for name, t in tensors.items() if name not in unread)
    assert info.weight_bytes == read
    assert sum(info.qtypes.values()) == len(tensors)
    assert model.metadata["general.architecture"] == "llama"
    assert model.placement()
    assert "llama" in repr(model)


def test_text_and_tokens(model):
    assert model.tokenize("abc", add_special=False) == [PIECES.index("abc")]
    assert model.detokenize([1, 2]) == "bc"
    with pytest.raises(qrt.InputError, match="must be a string"):
        model.tokenize(b"abc")


TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    "[assistant]{% if quiet %}hush{% endif %}"
)


@pytest.fixture(scope="module")
def talking(data, tmp_path_factory):
    """llama-dense with a sentencepiece vocabulary of ASCII letters and a chat template."""
    path = tmp_path_factory.mktemp("models") / "talking.gguf"
    writer, types = gguf.GGUFWriter(path, "llama"), gguf.GGUFValueType
    pieces = ["<unk>", "<s>", "</s>", "\u2581", *(chr(33 + i) for i in range(94))]
    pieces += [f"\u2581{a}" for a in string.ascii_lowercase] + ["th", "he", "the", "\u2581the"]
    with open_gguf(data / "arch" / "llama-dense.gguf") as source:
        for key, value in source.metadata.items():
            if key.startswith("llama."):
                kind = types.FLOAT32 if isinstance(value, float) else types.UINT32
                writer.add_key_value(key, value, kind)
        writer.add_tokenizer_model("llama")
        writer.add_token_list(pieces)
        writer.add_token_scores([-float(i) for i in range(128)])
        writer.add_token_types([2, 3, 3, *[1] * 125])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_chat_template(TEMPLATE)
        for name, tensor in source.tensors.items():
            raw = tensor.data.reshape(*tensor.shape[:-1], -1)
            writer.add_tensor(name, raw, raw_dtype=gguf.GGMLQuantizationType(tensor.qtype.id))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    writer.close()
    return path


def test_from_a_file_to_text(talking):
    options = {"max_tokens": 12, "seed": 4}
    with qrt.load(talking, backend="reference", n_threads=1) as model:
        assert model.detokenize(model.tokenize("the thing")) == "the thing"
        completion = model.generate("the thing", **options)
        assert completion.n_prompt_tokens == len(model.tokenize("the thing"))
        assert completion.text == model.detokenize([*model.tokenize("x"), *completion.tokens])[1:]
        messages = [{"role": "user", "content": "the </s> thing"}]
        chat = model.chat(messages, **options)
        text = "[user]the </s> thing[assistant]"
        assert chat.tokens == model.generate(text, **options).tokens
        assert chat.n_prompt_tokens == len(model.tokenize(text))  # </s> in a message is text
        quiet = model.chat(messages, template_vars={"quiet": True}, **options)
        assert quiet.n_prompt_tokens == len(model.tokenize(text + "hush"))
        with model.session() as session:
            first = session.chat(messages, **options)
            messages += [{"role": "assistant", "content": first.text}]
            messages += [{"role": "user", "content": "and"}]
            second = session.chat(messages, **options)
            assert second.timings.n_cached_tokens >= first.n_prompt_tokens - 1
            with pytest.raises(qrt.InputError):
                session.chat([{"role": "user"}], **options)
            with pytest.raises(qrt.InputError, match="template_vars must map"):
                session.chat(messages, template_vars=["tools"], **options)
            assert second.tokens == model.chat(messages, **options).tokens


BAD = [-1, 128, 2**31, 2**63, True, 1.5, "1"]


@pytest.mark.parametrize("bad", BAD)
def test_ids_outside_the_vocabulary_are_refused_everywhere(model, bad):
    for call in (
        lambda: model.logits([1, bad]),
        lambda: model.detokenize([bad]),
        lambda: model.generate([1, bad]),
        lambda: model.generate([1], stop_tokens=[bad]),
        lambda: model.generate([1], logit_bias={bad: 1.0}),
    ):
        with pytest.raises(qrt.InputError):
            call()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m.generate(""), qrt.InputError, "the prompt is empty"),
        (lambda m: m.generate([]), qrt.InputError, "the prompt is empty"),
        (lambda m: m.generate(7), qrt.InputError, "prompt must be a string or token ids, got 7"),
        (lambda m: m.generate(b"a"), qrt.InputError, "a string or token ids, got b'a'"),
        (lambda m: m.detokenize("a"), qrt.InputError, "tokens must be token ids"),
        (lambda m: m.stream([5] * 200), qrt.ContextFullError, "has 200 tokens, .* holds 200"),
        (lambda m: m.logits([5] * 201), qrt.ContextFullError, "201 tokens .* of 200"),
        (lambda m: m.logits([]), qrt.InputError, "no tokens"),
        (lambda m: m.logits([5], chunk=0), qrt.InputError, "chunk must be between 1 and 200"),
        (lambda m: m.generate("a", max_tokens=0), qrt.InputError, "max_tokens must be between 1"),
        (lambda m: m.generate("a", tempature=1), qrt.InputError, "unknown option 'tempature'"),
    ],
)
def test_bad_arguments_raise_at_once(model, call, error, message):
    with pytest.raises(error, match=message):
        call(model)
    assert model.logits([5]).shape == (1, 128)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        *(({"n_threads": n}, "n_threads must be between 1") for n in (0, -2)),
        ({"n_threads_batch": 0}, "n_threads_batch must be between 1"),
        ({"n_ctx": 0}, "n_ctx must be between 1"),
        ({"n_ctx": 257}, "n_ctx is 257, the model was trained for 256"),
        ({"n_ctx": True}, "n_ctx must be an integer"),
        ({"kv_type": "q9_0"}, "kv_type must be one of f16, f32, q8_0, q4_0, or .* got 'q9_0'"),
        ({"kv_type": "f16,q8_0,f16"}, "kv_type must be .* two for K,V such as q8_0,q4_0; got"),
        *(({"kv_type": kv}, f"kv_type must be one of .* got {kv!r}") for kv in ("f16,", None)),
        ({"backend": "tpu"}, "backend must be one of auto, cpu, reference, got 'tpu'"),
        ({"seed": -1}, "seed must be between 0"),
    ],
)
def test_load_checks_its_arguments(data, option, message):
    with pytest.raises(qrt.InputError, match=message):
        qrt.load(data / "arch" / "llama-dense.gguf", **{"backend": "reference", **option})


def test_prompts_may_be_read_by_threads_of_their_own():
    with qrt.load(n_threads=1, n_threads_batch=2) as model:
        settings = model._core.loaded.executor.settings
        assert [settings.threads_of(phase) for phase in ("prefill", "decode")] == [2, 1]
        assert model.info.n_threads == 1


def test_load_reports_progress_and_what_is_wrong_with_a_path(data, tmp_path):
    seen = []
    with qrt.load(
        data / "arch" / "llama-dense.gguf",
        backend="reference",
        n_threads=1,
        progress=lambda *step: seen.append(step[1:]),
    ) as model:
        assert model.info.n_ctx == 256
        assert model.logits([1, 2]).shape == (2, 128)
        with pytest.raises(qrt.VocabError, match=r"tokenizer\.ggml\.model"):
            model.tokenize("abc")
    assert seen[-1][0] == seen[-1][1] > 0
    for path in (tmp_path / "absent.gguf", tmp_path):
        with pytest.raises(qrt.GGUFError):
            qrt.load(path)
    with pytest.raises(qrt.InputError, match="path must be a string or a path"):
        qrt.load(3)


def test_without_the_embedded_model_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setattr("qrt.api.loading.embedded_model", lambda: Path("absent.gguf"))
    with pytest.raises(qrt.ModelError, match="give the path of a GGUF file"):
        qrt.load()


def test_load_tokenizer(data, tmp_path):
    path = tmp_path / "vocab.gguf"
    path.write_bytes(
        lzma.decompress((data / "vocab" / "ggml-vocab-llama-spm.gguf.xz").read_bytes())
    )
    tokenizer = qrt.load_tokenizer(path)
    assert tokenizer.detokenize(tokenizer.tokenize("Hello world")) == "Hello world"
