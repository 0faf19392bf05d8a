"""Models with an encoder and a decoder: steps, generations, and what of the text is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from kernels import nmse
from steps import Logits, Model, answered, logits_of, prepare, segment, step
from tiny_encoders import N_ENCODED
from tiny_models import metadata_of, tensors_of
from tiny_parts import N_CTX, N_VOCAB, TOKENS

from qrt.arch import build_graph
from qrt.backends import cpu, reference
from qrt.errors import InputError
from qrt.graph.batch import Segment

TEXT, REST = TOKENS[:N_ENCODED], TOKENS[N_ENCODED:]


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
