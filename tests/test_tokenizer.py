"""Text to tokens and back, for the real vocabularies of eight model families."""

from __future__ import annotations

import logging
import lzma
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_vocab import BYTES, tiny, tiny_spm

from qrt.errors import InputError, VocabError
from qrt.formats.gguf import open_gguf
from qrt.text import Tokenizer, bpe, load_tokenizer
from qrt.text.decode import BYTE_OF_CHAR

VOCABS = (
    "llama-spm", "phi-3", "llama-bpe", "qwen2", "gpt-2", "falcon", "starcoder", "deepseek-llm"
)  # fmt: skip
SEPARATOR = "\n__ggml_vocab_test__\n"

Load = Callable[[str], Tokenizer]


@pytest.fixture(scope="session")
def load(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Load:
    """Loads the tokenizer of a packed vocabulary file, once."""
    folder = tmp_path_factory.mktemp("vocab")
    loaded: dict[str, Tokenizer] = {}

    def load(name: str) -> Tokenizer:
        if name not in loaded:
            packed = data / "vocab" / f"ggml-vocab-{name}.gguf.xz"
            path = folder / f"{name}.gguf"
            path.write_bytes(lzma.decompress(packed.read_bytes()))
            with open_gguf(path) as file:
                loaded[name] = load_tokenizer(file.metadata, name)
            path.unlink()
        return loaded[name]

    return load


def cases(data: Path, name: str) -> list[tuple[str, list[int]]]:
    stem = data / "vocab" / f"ggml-vocab-{name}.gguf"
    texts = Path(f"{stem}.inp").read_bytes().decode().split(SEPARATOR)
    lines = Path(f"{stem}.out").read_text().split("\n")
    ids = [[int(number) for number in line.split()] for line in lines]
    return list(zip(texts, ids[: len(texts)], strict=True))


@pytest.mark.parametrize("name", VOCABS)
def test_matches_reference(load: Load, data: Path, name: str) -> None:
    tokenizer = load(name)
    for text, expected in cases(data, name):
        assert tokenizer.tokenize(text, add_special=False) == expected
        assert tokenizer.detokenize(expected) == text


@pytest.mark.parametrize("name", ["llama-bpe", "gpt-2", "falcon"])
def test_both_engines_agree(load: Load, data: Path, name: str) -> None:
    text = "\n".join(text for text, _ in cases(data, name)) + " ÀÉÎ ʼn 𝒳𝒴 0123456789 e\u0301 "
    encoder = load(name)._encoder
    assert isinstance(encoder, bpe.BpeEncoder)
    assert encoder.encode(text) == encoder._encode_long(text)


@settings(deadline=None, max_examples=60)
@given(text=st.text(max_size=40))
def test_any_text_round_trips(load: Load, text: str) -> None:
    for name in ("llama-bpe", "qwen2", "llama-spm"):
        tokenizer = load(name)
        expected = text if name != "llama-spm" else text.replace("▁", " ")
        for parse_special in (False, True):
            ids = tokenizer.tokenize(text, add_special=False, parse_special=parse_special)
            assert tokenizer.detokenize(ids, special=True) == expected
            stream = tokenizer.stream(special=True, continued=False)
            assert "".join([*map(stream.push, ids), stream.flush()]) == expected


def test_special_tokens_only_where_asked(load: Load) -> None:
    tokenizer = load("llama-bpe")
    text = "<|begin_of_text|>hi<|eot_id|>"
    assert tokenizer.tokenize(text, parse_special=True) == [128000, 128000, 6151, 128009]
    assert not {128000, 128009} & set(tokenizer.tokenize(text, add_special=False))
    spans = [("<|eot", True), ("_id|>", False), ("<|eot_id|>", True), ("<|eot_id|>", False)]
    assert tokenizer.tokenize_spans(spans, add_special=False).count(128009) == 1


def test_ordinary_tokens_cross_spans(load: Load) -> None:
    tokenizer = load("llama-bpe")
    spans = [("<|eot_id|>Hel", True), ("lo wor", False), ("ld", True)]
    assert tokenizer.tokenize_spans(spans, add_special=False) == [128009, 9906, 1917]


def test_rules_of_single_families(load: Load) -> None:
    phi3 = load("phi-3")
    assert phi3.tokenize("<|user|>\n hi", parse_special=True) == [1, 32010, 7251]
    spm = load("llama-spm")
    assert spm.tokenize("") == [1]
    assert spm.tokenize("hi") == [1, 7251]
    assert spm.detokenize([7251]) == "hi"
    assert spm.detokenize([7251], continued=True) == " hi"
    assert spm.stream().push(7251) == " hi"
    assert load("deepseek-llm").tokenize("aø", add_special=False)[-1] == 100002


def test_ends_of_generation(load: Load) -> None:
    assert load("llama-bpe").eog_ids == {128001, 128009}
    assert load("qwen2").eog_ids == {128247, 151643, 151645}
    assert load("phi-3").eog_ids == {2, 32000, 32007}
    assert load("gpt-2").eog_ids == {50256}
    assert (load("qwen2").bos_id, load("qwen2").add_bos) == (151643, False)
    assert (load("llama-bpe").eot_id, load("llama-bpe").add_bos) == (128009, True)


def test_stream_never_cuts_a_character(load: Load) -> None:
    tokenizer = load_tokenizer(tiny_spm(), "tiny")
    for text in ("é", "中", "👩‍👩‍👧", "a\u0301", "\U0010ffff"):
        stream = tokenizer.stream()
        pushed = [stream.push(3 + byte) for byte in text.encode()]
        whole = iter(text)
        assert all(part == "" or part == next(whole) for part in pushed)
        assert "".join(pushed) == text
        assert stream.flush() == ""
    for broken in (b"\xff", b"\xe4\xb8", b"a\xf0\x9f\x91b", b"\xc3\x28", b"\xed\xa0\x80"):
        stream = tokenizer.stream()
        pushed = [stream.push(3 + byte) for byte in broken]
        assert "".join(pushed) + stream.flush() == broken.decode("utf-8", "replace")
    assert load("llama-bpe").token_bytes(128009) == b"<|eot_id|>"


def test_ids_and_texts_are_checked() -> None:
    tokenizer = load_tokenizer(tiny(), "tiny")
    assert tokenizer.n_vocab == 260
    for token in (-1, 260, 1 << 40):
        for use in (tokenizer.piece, tokenizer.token_bytes, lambda t: tokenizer.detokenize([t])):
            with pytest.raises(InputError, match="outside the vocabulary"):
                use(token)
    with pytest.raises(InputError, match="character 1"):
        tokenizer.tokenize("a\ud800")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "tokenizer.ggml.model is None"),
        (tiny(model="magic"), "'magic'"),
        (tiny(pre=7), "tokenizer.ggml.pre is 7"),
        (tiny(tokens=[]), "empty"),
        (tiny(tokens=[1, 2]), "not an array of strings"),
        (tiny(tokens=["a" * 70_000]), "70000 bytes"),
        (tiny(token_type=np.ones(259, np.int32)), "259 entries for 260"),
        (tiny(token_type=np.ones(260, np.float32)), "float32"),
        (tiny(token_type=np.full(260, 9, np.int32)), "from 9 to 9"),
        (tiny(merges=None), "tokenizer.ggml.merges"),
        (tiny(merges=["he"]), r"merges\[0\]"),
        (tiny(merges=["h e", " he", "he "]), r"merges\[1\] is b' he'"),
        (tiny(eos_token_id=260), "260, outside"),
        (tiny(bos_token_id=-1), "-1, outside"),
        (tiny(bos_token_id=True), "expected a token id"),
        (tiny(add_bos_token=1), "expected true or false"),
        (tiny_spm(scores=None), "scores"),
        (tiny_spm(scores=np.full(262, np.nan, np.float32)), "score of token 0"),
        (tiny_spm(scores=np.zeros(9, np.float32)), "9 entries"),
        (tiny_spm(tokens=[*BYTES[:-1], "<0x-1>", "▁", "a", "▁a"]), "<0x-1>"),
        (tiny_spm(tokens=[*BYTES[:-1], "<0xfe>", "▁", "a", "▁a"]), "<0xfe>"),
        (tiny_spm(tokens=[*BYTES[:-1], "<0xFE>", "▁", "a", "▁a"]), "same byte"),
        (tiny_spm(token_type=np.array([2, 3, 3, 1] + [6] * 255 + [1] * 3)), "255 byte tokens"),
    ],
)
def test_unusable_vocabularies(metadata: Mapping[str, object], message: str) -> None:
    present = {key: value for key, value in metadata.items() if value is not None}
    with pytest.raises(VocabError, match=message):
        load_tokenizer(present, "file.gguf")


@pytest.mark.parametrize(
    ("pre", "what"), [("magic" * 100, "unknown pre-tokenizer 'magicm"), ("", "no pre-tokenizer")]
)
def test_an_unknown_pre_tokenizer_is_the_default_one_and_a_warning(
    caplog: pytest.LogCaptureFixture, pre: str, what: str
) -> None:
    changes = {"tokens": [*BYTE_OF_CHAR, *("34", "45"), *("<s>", "</s>")], "merges": ["3 4", "4 5"]}
    with caplog.at_level(logging.WARNING, "qrt"):
        tokenizer = load_tokenizer(tiny(pre=pre, **changes), "file.gguf")
    assert tokenizer.tokenize("12345") == [16, 17, 18, 257]  # digits in threes
    (warning,) = caplog.messages
    assert warning.startswith(f"file.gguf: {what}")
    assert len(warning) < 300


def test_merge_of_an_absent_token() -> None:
    tokenizer = load_tokenizer(tiny(merges=["l o"]), "file.gguf")
    for text in ("hello", "hello" * bpe.LONG_TEXT):
        with pytest.raises(VocabError, match="lo"):
            tokenizer.tokenize(text)


def test_repeated_and_empty_pieces_are_survived() -> None:
    tokens = [*BYTES, "a", "a", ""]
    tokenizer = load_tokenizer(tiny_spm(tokens=tokens, add_space_prefix=False), "tiny")
    assert tokenizer.tokenize("aa", add_special=False) == [259, 259]
    assert tokenizer.detokenize([261, 260]) == "a"


@pytest.mark.parametrize("name", ["llama-spm", "llama-bpe"])
@pytest.mark.parametrize("char", ["a", " ", "\n", "中", "<|"])
def test_long_input_takes_linear_time(load: Load, name: str, char: str) -> None:
    tokenizer = load(name)
    tokenizer.tokenize("warm" * bpe.LONG_TEXT)

    def seconds(n_bytes: int) -> float:
        text = char * (n_bytes // len(char.encode()))
        start = time.perf_counter()
        tokenizer.tokenize(text, parse_special=True)
        return time.perf_counter() - start

    ratio = 9.0
    for _ in range(4):
        ratio = min(ratio, seconds(1 << 18) / seconds(1 << 17))
        if ratio <= 2.5:
            break
    assert ratio <= 2.5


@pytest.mark.parametrize("name", VOCABS)
def test_text_cannot_forge_control_tokens(load: Load, name: str) -> None:
    tokenizer = load(name)
    control = [i for i in range(tokenizer.n_vocab) if tokenizer.is_control(i)]
    assert control
    for token in control:
        text = tokenizer.piece(token)
        for forged in (text, f"a{text}b", text * 2):
            assert token not in tokenizer.tokenize_spans([(forged, False)], add_special=False)


@pytest.mark.parametrize("name", VOCABS)
def test_least_tokens(load: Load, data: Path, name: str) -> None:
    tokenizer = load(name)
    longest = max(range(tokenizer.n_vocab), key=lambda i: len(tokenizer.token_bytes(i)))
    texts = [tokenizer.token_bytes(longest).decode() * 50, "<|user|>" + " " * 400, "\0ø中" * 50]
    for text in [*texts, *(text for text, _ in cases(data, name)), "word " * 1000]:
        ids = tokenizer.tokenize(text, add_special=False, parse_special=True)
        assert 0 <= tokenizer.least_tokens(text) <= len(ids)
    assert tokenizer.least_tokens("word " * 10_000) >= 600
    with pytest.raises(InputError, match="character 0"):
        tokenizer.least_tokens("\ud800")


def test_least_tokens_does_not_count_what_is_lost() -> None:
    tokens = [*BYTES[:3], "▁", "a", "▁a"]
    types, scores = np.array([2, 3, 3, 1, 1, 1]), np.zeros(6, np.float32)
    tokenizer = load_tokenizer(tiny_spm(tokens=tokens, token_type=types, scores=scores), "tiny")
    assert tokenizer.least_tokens("中" * 1000) <= len(tokenizer.tokenize("中" * 1000))
