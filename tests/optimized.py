"""What a model must answer and refuse whether or not Python keeps asserts: `python -O THIS_FILE`.

Prints it as JSON; `-O` and `-OO` may change nothing but the level of optimization, which is told
too, so that a run that was not optimized is no proof.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import qrt
from qrt.config import embedded_model

N_CTX = 128
PROMPT = "def fibonacci(n):"
GREEDY = {"max_tokens": 12, "temperature": 0, "ignore_eos": True}

Calls = dict[str, Callable[[], object]]


def of_a_model(model: qrt.Model) -> Calls:
    """Calls that would make a kernel read or write where it must not, and others of no sense."""
    n_vocab = model.info.n_vocab
    outside = {"negative": -1, "one too many": n_vocab, "large": 2**31, "huge": 2**63}
    calls: Calls = {}
    for name, token in outside.items():
        calls |= {
            f"logits of a {name} token": lambda token=token: model.logits([1, token]),
            f"decoding a {name} token": lambda token=token: model.logits([token], chunk=1),
            f"a prompt with a {name} token": lambda token=token: model.generate([1, token]),
            f"prompts with a {name} token": lambda token=token: model.generate_many([[1], [token]]),
            f"stopping at a {name} token": lambda token=token: model.generate(
                [1], stop_tokens=[token], max_tokens=1
            ),
            f"a bias for a {name} token": lambda token=token: model.generate(
                [1], logit_bias={token: 1.0}, max_tokens=1
            ),
            f"the text of a {name} token": lambda token=token: model.detokenize([token]),
        }
    return calls | {
        "no tokens": lambda: model.logits([]),
        "no prompt": lambda: model.generate(""),
        "more logits than the context": lambda: model.logits([1] * (N_CTX + 1)),
        "a prompt that fills the context": lambda: model.generate([1] * N_CTX),
        "more rows than a step takes": lambda: model.logits([1], chunk=N_CTX + 1),
        "more sequences than a step takes": lambda: model.generate_many(
            [[1]], batch_size=N_CTX + 1
        ),
        "no rows": lambda: model.logits([1], chunk=0),
        "two streams of a session": lambda: two_streams(model),
    }


def of_a_closed_model(model: qrt.Model) -> Calls:
    """Every use of a model whose memory is gone."""
    return {
        "logits of a closed model": lambda: model.logits([1]),
        "an answer of a closed model": lambda: model.generate([1]),
        "answers of a closed model": lambda: model.generate_many([[1]]),
        "a session of a closed model": lambda: model.session(),
        "the placement of a closed model": lambda: model.placement(),
        "the metadata of a closed model": lambda: model.metadata,
    }


def of_loading(folder: Path) -> Calls:
    """Files and options that no model comes from."""
    whole = embedded_model().read_bytes()
    files = {"cut short": whole[: len(whole) // 2], "cut in its header": whole[:1000], "empty": b""}
    calls: Calls = {}
    for i, (name, content) in enumerate(files.items()):
        path = folder / f"{i}.gguf"
        path.write_bytes(content)
        calls[f"a file {name}"] = lambda path=path: qrt.load(path)
    return calls | {
        "no threads": lambda: qrt.load(n_threads=0),
        "a context beyond the training": lambda: qrt.load(n_ctx=10**6),
        "an unknown cache": lambda: qrt.load(kv_type="q9_0"),
        "an unknown backend": lambda: qrt.load(backend="tpu"),
    }


def two_streams(model: qrt.Model) -> None:
    with model.session() as session, session.stream([1], max_tokens=4) as stream:
        next(stream)
        next(session.stream([1], max_tokens=4))


def refused(calls: Calls) -> dict[str, str]:
    """The class of the error of each call; "nothing" where there is none."""
    return {name: _error_of(call) for name, call in calls.items()}


def _error_of(call: Callable[[], object]) -> str:
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return "nothing"


@contextmanager
def _model() -> Iterator[qrt.Model]:
    with qrt.load(n_ctx=N_CTX, n_threads=2) as model:
        yield model


def facts() -> dict[str, object]:
    """Answers, the bits of logits, and what is refused."""
    with _model() as model:
        tokens = model.tokenize(PROMPT)
        bad = refused(of_a_model(model))
        logits = model.logits(tokens)
        one_by_one = model.logits(tokens, chunk=1)
        answer = model.generate(PROMPT, **GREEDY)
        many = model.generate_many([PROMPT, "import os", "x"], **GREEDY)
        with model.session() as session:
            chat = session.chat([{"role": "user", "content": "hi"}], **GREEDY)
    with qrt.load(n_ctx=N_CTX, backend="reference") as slow:
        exact = slow.logits(tokens)
    with tempfile.TemporaryDirectory() as folder:
        bad |= refused(of_loading(Path(folder)))
    nmse = np.mean((logits - exact) ** 2) / np.mean(exact**2)
    return {
        "tokens": tokens,
        "answer": list(answer.tokens),
        "many": [list(completion.tokens) for completion in many],
        "chat": list(chat.tokens),
        "logits": _digest(logits),
        "one by one": bool((logits == one_by_one).all()),
        "as the reference": bool(nmse < 1e-3),
        "refused": bad | refused(of_a_closed_model(model)),
    }


def _digest(values: np.ndarray) -> str:
    return hashlib.sha256(values.tobytes()).hexdigest()


if __name__ == "__main__":
    print(json.dumps({"level": sys.flags.optimize, **facts()}))
