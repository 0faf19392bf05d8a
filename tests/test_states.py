"""States of recurrent layers in service: what is kept of them, found again, and stored in files."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from fakes import GROUPS, N_VOCAB, start, together, tokens
from test_prefix import given_alone, made, told
from test_toys import MODELS, PROMPT
from toys.models import tensors_of

from qrt.backends import reference
from qrt.backends.base import Settings
from qrt.errors import InputError
from qrt.graph.batch import PAGE_LEN
from qrt.graph.state import KV, Recurrent
from qrt.runtime.engine import Engine
from qrt.runtime.prefix_files import PrefixFiles
from qrt.runtime.prefix_tree import Tree

HYBRID = (GROUPS[0], GROUPS[2])
TEXT = random.Random(3).choices(range(3, N_VOCAB), k=900)
STATES = "*/*s"


@pytest.mark.parametrize("n_slots", [2, 3, 5])
def test_many_generations_in_a_tenth_of_the_slots_they_need(n_slots):
    run, _ = made(groups=HYBRID, n_slots=n_slots, max_rows=128)
    prompts = [[*TEXT[: 20 + 9 * i % 150], 3 + i % 20] for i in range(2 * n_slots * 5)]
    jobs = [lambda p=p: told(run, p, max_tokens=70) for p in prompts]
    for prompt, (got, _) in zip(prompts, together(jobs), strict=True):
        assert got == given_alone(prompt, HYBRID, max_tokens=70)
    run.check_integrity()
    assert run.n_free_pages == run.n_pages


def test_snapshots_keep_nobody_waiting():
    """Slots that they hold count as room for others; those of the current state do not."""
    run, _ = made(groups=HYBRID, n_slots=6, max_rows=128)
    seq = run.open()
    run.append(seq, TEXT[:640], chunk=64)
    assert run.n_free_pages[-1] < 3
    twin = run.fork(seq)
    assert run._store.room()[-1] == 5
    run.append(twin, [3])
    assert run._store.room()[-1] == 4
    assert run._store.need(seq, 641)[-1] == 1


def test_where_prompts_part_a_state_is_kept():
    """The second of three with a common beginning computes it from the last snapshot before they
    part; the third only what is its own."""
    run, _ = made(n_pages=200, groups=HYBRID, max_rows=512)
    common = 6 * PAGE_LEN
    prompts = [TEXT[:common] + [token] * 300 for token in (3, 4, 5)]
    want = [given_alone(prompt, HYBRID) for prompt in prompts]
    got = [told(run, prompt) for prompt in prompts]
    assert [answer for answer, _ in got] == want
    assert got[1][1] < common
    assert got[2][1] == common
    run.check_integrity()


@pytest.mark.parametrize("n_answer", [5, 150, 400])
def test_a_prompt_can_be_answered_anew_however_long_the_answer(n_answer):
    """As where templates leave thoughts out: the next prompt has a bit less than the last one."""
    run, _ = made(n_pages=200, groups=HYBRID, max_rows=512)
    prompt = TEXT[:370]
    told(run, prompt, max_tokens=n_answer)
    following = [*prompt[:-5], *[9] * 40]
    answer, n_cached = told(run, following)
    assert answer == given_alone(following, HYBRID)
    assert n_cached == 5 * PAGE_LEN
    with_session = run.open(idle=True)
    told(run, TEXT[:300], seq=with_session, max_tokens=n_answer, cache_salt="own")
    run.drop_prefixes()
    assert told(run, TEXT[:299], seq=with_session, cache_salt="own")[1] == 4 * PAGE_LEN


def test_what_a_session_has_kept_is_there_for_others():
    run, _ = made(n_pages=200, groups=HYBRID, max_rows=512)
    seq = run.open(idle=True)
    answer, _ = told(run, TEXT[:100], seq=seq, max_tokens=200)
    other = [*TEXT[:100], *answer[:-10], 3, 4]
    assert told(run, other) == (given_alone(other, HYBRID), 4 * PAGE_LEN)
    run.check_integrity()


def test_a_long_conversation_takes_few_slots():
    run, _ = made(n_pages=400, groups=HYBRID, max_rows=512)
    seq = run.open(idle=True)
    prompt = list(TEXT[:200])
    for turn in range(9):
        done = told(run, prompt, seq=seq, max_tokens=60)[0]
        prompt = [*prompt, *done, *[3 + turn] * 25]
    assert len(prompt) > 900
    assert len(seq.states[1].held) <= 12
    for n_tokens in (900, 700, 300):
        assert n_tokens - run._store.restorable(seq, n_tokens) <= 2 * (len(seq) - n_tokens) + 64
    run.check_integrity()


def test_what_a_sequence_thins_out_goes_before_what_others_have_stored():
    run, _ = made(n_pages=300, groups=HYBRID, n_slots=14, max_rows=64)
    told(run, [7] * 200)
    told(run, TEXT)
    assert told(run, [7] * 210)[1] >= 3 * PAGE_LEN
    run.check_integrity()


def on_disk(folder: Path, name: str = "hybrid", n_slots: int = 64) -> Engine:
    """An engine of a toy that keeps prefixes in files."""
    graph = MODELS[name]()
    counts = {KV: 64, Recurrent: n_slots}
    capacities = tuple(counts[type(group)] for group in graph.states)
    settings = Settings(1, capacities, 128, "f16", 512)
    executor = reference.prepare(graph, tensors_of(graph), settings, lambda *_: None)
    files = PrefixFiles(folder, 1 << 30)
    return Engine(executor, graph.states, 512, prefixes=Tree(b"toy"), files=files)


PARTS = [*PROMPT, *PROMPT[:70]]


@pytest.mark.parametrize("name", ["hybrid", "mamba"])
def test_states_on_disk_go_on_with_the_same_tokens(name, tmp_path):
    run = on_disk(tmp_path, name)
    answer, _ = told(run, PARTS)
    longer = [*PARTS, *answer, 5, 6, 7]
    branch = [*PARTS[:200], 9, 9, 9]
    want = [told(run, prompt, cache_prompt=False)[0] for prompt in (longer, branch)]
    run.close()
    run = on_disk(tmp_path, name)
    assert told(run, longer) == (want[0], len(PARTS) + 11)  # the last had no step
    run.check_integrity()
    assert told(run, branch) == (want[1], 3 * PAGE_LEN)
    assert told(run, longer, cache_salt="s")[1] == 0
    run.check_integrity()
    assert run.n_free_pages == run.n_pages
    run.close()


def test_states_just_behind_a_page_border_hide_none_before(tmp_path):
    start = PARTS[: 3 * PAGE_LEN + 4 - 11]
    run = on_disk(tmp_path)
    answer, _ = told(run, start)
    longer = [*start, *answer, *PARTS[:30]]
    want, _ = told(run, longer, cache_prompt=False)
    run.close()
    run = on_disk(tmp_path)
    assert told(run, longer) == (want, 3 * PAGE_LEN)
    run.close()


@pytest.mark.parametrize("harm", [0, 20, 90, 150, 400, -2, "short", "long", "gone"])
def test_damaged_states_are_computed_again(harm, tmp_path):
    run = on_disk(tmp_path)
    want, _ = told(run, PARTS)
    run.close()
    found = list((tmp_path / "qrt-prefixes-1").glob(STATES))
    assert len(found) >= 2
    for path in found:
        data = bytearray(path.read_bytes())
        if isinstance(harm, int):
            data[harm] ^= 1
        path.write_bytes({"short": data[:-9], "long": data + b"x"}.get(harm, data))
        if harm == "gone":
            path.unlink()
    run = on_disk(tmp_path)
    assert told(run, PARTS) == (want, 0)
    run.check_integrity()
    run.close()
    run = on_disk(tmp_path)
    assert told(run, PARTS)[1] == 3 * PAGE_LEN  # written anew
    run.close()


def test_too_few_slots_for_what_is_on_disk(tmp_path):
    run = on_disk(tmp_path)
    want, _ = told(run, PARTS)
    run.close()
    run = on_disk(tmp_path, n_slots=5)
    assert told(run, PARTS)[0] == want
    run.check_integrity()
    run.close()


@pytest.mark.parametrize("n_slots", [64, 4])
def test_a_session_with_states_is_written_and_read_back(n_slots, tmp_path):
    run = on_disk(tmp_path / "a")
    seq = run.open(idle=True)
    answer = tokens(start(run, PARTS, seq=seq, max_tokens=100))
    longer = [*PARTS, *answer, 5]
    want = told(run, longer, cache_prompt=False)[0], told(run, PARTS[:-1], cache_prompt=False)[0]
    with (tmp_path / "state").open("wb") as file:
        run.write_state(seq, file, b"key")
    run.close()
    run = on_disk(tmp_path / "b", n_slots=n_slots)
    seq = run.open(idle=True)
    if n_slots == 4:
        told(run, [3] * 130, seq=run.open(idle=True))
    data = (tmp_path / "state").read_bytes()
    for wrong in (data[:-9], data + b"x", data[:300] + b"\xff" + data[301:]):
        (tmp_path / "wrong").write_bytes(wrong)
        with (tmp_path / "wrong").open("rb") as file, pytest.raises(InputError):
            run.read_state(seq, file, b"key", N_VOCAB)
        run.check_integrity()
    with (tmp_path / "state").open("rb") as file:
        assert run.read_state(seq, file, b"key", N_VOCAB) == len(longer) - 2
    run.check_integrity()
    if n_slots == 64:
        twin = run.fork(seq)
        assert told(run, PARTS[:-1], seq=twin) == (want[1], 3 * PAGE_LEN)
        assert told(run, longer, seq=seq) == (want[0], len(longer) - 2)
    else:
        assert seq.states[0].n_own == 1
    run.close()
