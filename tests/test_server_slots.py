"""Slots that are saved, restored and erased over HTTP, as llama-server's clients do it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import Served, served

import qrt
from qrt.errors import BackendError, InputError
from qrt.server.app import build
from qrt.server.config import ServerConfig
from qrt.server.models import OneModel

PROMPT = "def read_lines(path):\n    with open(path) as"
KEYS = {"first": {"Authorization": "Bearer first"}, "other": {"Authorization": "Bearer other"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept") / "slots"


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Served]:
    with served(slot_save_path=str(folder), api_keys=tuple(KEYS)) as one:
        yield one


def ask(server: Served, path: str, body: Any, key: str = "first") -> Any:
    return server.ask(path, body, headers=KEYS[key])


def act(server: Served, slot: int, action: str, name: str = "a.bin", key: str = "first") -> Any:
    reply = ask(server, f"/slots/{slot}?action={action}", {"filename": name}, key)
    assert reply.status == 200, reply.body
    return reply.json


def told(server: Served, slot: int, prompt: str = PROMPT, key: str = "first") -> Any:
    """What a slot answers, and how many tokens of the prompt it had."""
    body = {"prompt": prompt, "n_predict": 6, "id_slot": slot, "ignore_eos": True}
    reply = ask(server, "/completion", body, key)
    assert reply.status == 200, reply.body
    assert reply.json["id_slot"] == slot
    return reply.json["content"], reply.json["timings"]["cache_n"]


def test_a_slot_goes_on_from_what_was_saved(server: Served, folder: Path) -> None:
    assert server.model is not None
    n_prompt = len(server.model.tokenize(PROMPT))
    answer, n_cached = told(server, 1)
    assert n_cached == 0
    saved = act(server, 1, "save")
    assert (saved["id_slot"], saved["filename"], saved["n_saved"]) == (1, "a.bin", n_prompt + 5)
    (file,) = (path for path in folder.rglob("*") if path.is_file())
    assert saved["n_written"] == file.stat().st_size
    assert file.stat().st_mode & 0o077 == 0
    assert told(server, 1) == (answer, n_prompt - 1)
    assert told(server, 0)[1] == 0  # slots share nothing
    restored = act(server, 0, "restore")
    assert (restored["n_restored"], restored["n_read"]) == (saved["n_saved"], saved["n_written"])
    assert told(server, 0, f"{PROMPT}{answer}")[1] == n_prompt + 5
    assert act(server, 0, "erase", "")["n_erased"] > n_prompt
    assert told(server, 0)[1] == 0
    with served(server.model, slot_save_path=str(folder), api_keys=tuple(KEYS)) as again:
        act(again, 5, "restore")
        assert told(again, 5) == (answer, n_prompt - 1)
        chat = {"messages": [{"role": "user", "content": "x"}], "id_slot": 5, "max_tokens": 2}
        assert ask(again, "/v1/chat/completions", chat).status == 200


def test_keys_have_slots_and_files_of_their_own(server: Served) -> None:
    told(server, 2)
    act(server, 2, "save", "own")
    assert told(server, 2, key="other")[1] == 0
    reply = ask(server, "/slots/2?action=restore", {"filename": "own"}, "other")
    assert (reply.status, reply.json["error"]["code"]) == (404, 404)


@pytest.mark.parametrize(
    ("path", "body", "status", "word"),
    [
        ("/slots/0?action=save", {"filename": name}, 400, "filename")
        for name in ("../a", "a/b", "..", ".a", "", "a\\b", "é", "x" * 200, "a\n", "/etc/passwd")
    ]
    + [
        ("/slots/0?action=restore", {"filename": "none"}, 404, "filename"),
        ("/slots/7?action=save", {"filename": "x"}, 400, "nothing"),
        ("/slots/0?action=lose", {}, 400, "save, restore, erase"),
        ("/slots/x?action=erase", {}, 400, "id_slot"),
        ("/slots/64?action=erase", {}, 400, "0 to 63"),
        ("/completion", {"prompt": ["a", "b"], "id_slot": 0}, 400, "one answer"),
        ("/completion", {"prompt": "a", "id_slot": 64}, 400, "0 to 63"),
    ],
)
def test_what_is_no_slot_or_no_file_is_told(
    server: Served, path: str, body: Any, status: int, word: str
) -> None:
    reply = ask(server, path, body)
    assert (reply.status, reply.json["error"]["code"]) == (status, status)
    assert word in reply.json["error"]["message"]


def test_a_damaged_file_leaves_the_slot_empty(server: Served, folder: Path) -> None:
    told(server, 3)
    act(server, 3, "save", "damaged")
    (file,) = folder.rglob("damaged")
    file.write_bytes(file.read_bytes()[:-9])
    reply = ask(server, "/slots/3?action=restore", {"filename": "damaged"})
    assert (reply.status, "damaged" in reply.json["error"]["message"]) == (400, True)
    assert told(server, 3)[1] <= 1


def test_a_directory_that_is_not_ours_alone_is_refused(tmp_path: Path, model: qrt.Model) -> None:
    (tmp_path / "open").mkdir(mode=0o777)
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "file").write_bytes(b"")
    for name, error in (("open", BackendError), ("file/x", InputError)):
        with pytest.raises(error, match="slot-save-path"):
            build(ServerConfig(slot_save_path=str(tmp_path / name)), OneModel("m", model))
