"""What a session writes to a file and reads back: the same bits, or an error and no change."""

from __future__ import annotations

import pytest
from kept_models import MODELS

import qrt
from qrt.errors import BusyError, InputError
from qrt.graph.batch import PAGE_LEN
from qrt.runtime.pages import Pages
from qrt.runtime.pool import Pool

GREEDY = {"temperature": 0, "ignore_eos": True}
TOKENS = [5 + i * 37 % 100 for i in range(3 * PAGE_LEN + 9)]


@pytest.mark.parametrize("name", MODELS)
def test_a_state_goes_on_in_a_model_loaded_anew_with_the_same_bits(name, data, tmp_path):
    path, options = MODELS[name]
    path = path and data / "arch" / path
    with qrt.load(path, n_ctx=256, n_threads=1, **options) as model:
        engine = model._core.engine
        seq = engine.open(idle=True)
        engine.append(seq, TOKENS)
        model._core.save_state(seq, tmp_path / "state")
        want = engine.append(seq, [7, 8, 9], n_logits=3)
    with qrt.load(path, n_ctx=256, n_threads=1, **options) as model:
        engine = model._core.engine
        seq = engine.open(idle=True)
        engine.append(seq, TOKENS[:80])
        assert model._core.load_state(seq, tmp_path / "state") == len(TOKENS)
        assert seq.tokens == TOKENS
        engine.check_integrity()
        assert engine.append(seq, [7, 8, 9], n_logits=3).tobytes() == want.tobytes()


@pytest.fixture
def written(model, tmp_path):
    """A file of the state of a session."""
    with model.session() as session:
        session.generate([5, 6, 7] * 30, max_tokens=3, **GREEDY)
        session.save_state(tmp_path / "state")
    return tmp_path / "state"


@pytest.mark.parametrize("at", [0, 20, 48, 52, 60, 500, -3, "short", "long", "empty"])
def test_a_damaged_file_is_an_error_and_leaves_an_empty_session(at, written, model):
    data = bytearray(written.read_bytes())
    if isinstance(at, int):
        data[at] ^= 0xFF
    written.write_bytes({"short": data[:-9], "long": data + b"x", "empty": b""}.get(at, data))
    with model.session() as session:
        with pytest.raises(InputError, match=r"^the state (is|has)|pages are not those"):
            session.load_state(written)
        assert model._core.engine.n_free_pages == model._core.engine.n_pages
        model._core.engine.check_integrity()
        assert session.generate([5, 6], max_tokens=2, **GREEDY).timings.n_cached_tokens == 0


def test_the_state_of_another_model_is_refused(written, tmp_path):
    with qrt.load(n_threads=1) as model, model.session() as session:
        with pytest.raises(InputError, match="another model"):
            session.load_state(written)
        session.generate([5, 6, 7], max_tokens=1)
        session.save_state(written)
        assert session.load_state(written) == 3
    with qrt.load(n_threads=1, kv_type="q8_0") as other, other.session() as session:
        with pytest.raises(InputError, match="another model, type of KV cache"):
            session.load_state(written)
        with pytest.raises(OSError, match="none"):
            session.load_state(tmp_path / "none")


def test_a_token_that_the_vocabulary_has_not_is_refused(written, model):
    core = model._core
    seq = core.engine.open(idle=True)
    with written.open("rb") as file, pytest.raises(InputError, match="not in the vocabulary"):
        core.engine.read_state(seq, file, core._state_key(seq), n_vocab=5)
    assert seq.tokens == []


def test_a_state_is_written_between_generations(written, model):
    with model.session() as session:
        stream = session.stream([5, 6, 7], **GREEDY)
        next(stream)
        for call in (session.save_state, session.load_state):
            with pytest.raises(BusyError, match="session is generating"):
                call(written)
        stream.close()
        session.save_state(written)
        assert session.load_state(written) >= 3


def test_pages_that_are_not_those_of_so_many_positions():
    for window, n_held in ((None, 2), (None, 4), (100, 1), (100, 4)):
        with pytest.raises(InputError, match="are not those of"):
            Pages(Pool(8, "pages"), window).refill(3 * PAGE_LEN, n_held)
    pages = Pages(Pool(8, "pages"), 100)
    pages.refill(3 * PAGE_LEN, 2)
    assert len(pages.held) == 2
