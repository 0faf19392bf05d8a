"""`qrt pull` and its kin against a hub on this machine: all goes well, or one line and nothing."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
from filelock import FileLock
from hub_server import DATA, REPO, Hub, at, invoke, kept, running
from huggingface_hub import constants

import qrt
from qrt.cli.arguments import model_file

SHORT_REPO = "bartowski/Llama-3.2-1B-Instruct-GGUF"
SHORT_FILE = "Llama-3.2-1B-Instruct-Q4_K_M.gguf"


def test_a_short_name_from_pull_to_rm(hub, hub_cache):
    model = model_file(None).read_bytes()
    hub.repo, hub.files = SHORT_REPO, {SHORT_FILE: model, "other-Q8_0.gguf": DATA}
    pulled = invoke("pull", "llama3.2:1b")
    assert (pulled.exit_code, pulled.stderr) == (0, "")
    assert "134.22 MB of it for a context of 4096" in pulled.stdout
    path = huggingface_hub.try_to_load_from_cache(SHORT_REPO, SHORT_FILE, hub_cache)
    assert Path(path).read_bytes() == model
    assert pulled.stdout.endswith(f"kept in {path}\nrun it: qrt run llama3.2:1b\n")

    names = (
        "llama3.2:1b",
        f"hf:{SHORT_REPO}/{SHORT_FILE}",
        f"{SHORT_REPO}:Q4_K_M",
        SHORT_REPO,
        path,
    )
    said = {invoke("tokenize", name, "def f():", "--ids").stdout for name in names}
    assert said == {str(qrt.load_tokenizer("llama3.2:1b").tokenize("def f():")) + "\n"}
    with qrt.load("llama3.2:1b", n_ctx=64, backend="reference") as loaded:
        assert loaded.info.path == path
    (listed,) = json.loads(invoke("list", "--json").stdout)
    assert listed == {"name": "llama3.2:1b", "id": names[1], "path": path, "bytes": len(model)}
    assert "llama3.2:1b" in invoke("list").stdout
    assert path in invoke("show", "llama3.2:1b").stdout

    assert hub.downloads() == [None]
    assert invoke("pull", f"{SHORT_REPO}:q4_k_m").exit_code == 0
    assert hub.downloads() == [None]
    asked = invoke("rm", "llama3.2:1b")
    assert (asked.exit_code, len(kept(hub_cache))) == (2, 2)
    assert "--yes" in asked.stderr
    gone = invoke("rm", "llama3.2:1b", "--yes")
    assert (gone.exit_code, kept(hub_cache)) == (0, [])
    missing = invoke("run", "llama3.2:1b", "hi")
    assert missing.exit_code == 3
    assert missing.stderr == (
        "error: llama3.2:1b: is not on this machine; `qrt pull llama3.2:1b` fetches it, 0.8 GB\n"
    )


def test_all_splits_of_a_model(hub, hub_cache):
    names = [f"big/m-Q4_K_M-0000{no}-of-00003.gguf" for no in (1, 2, 3)]
    hub.files |= {name: DATA[i:] for i, name in enumerate(names)}
    pulled = invoke("pull", f"hf:{REPO}/{names[0]}")
    assert (pulled.exit_code, pulled.stderr) == (0, "")
    assert ", 3 files" in pulled.stdout
    assert [p.partition("4567/")[2] for p in kept(hub_cache) if p.endswith(".gguf")] == names
    assert json.loads(invoke("list", "--json").stdout)[0]["bytes"] == 3 * len(DATA) - 3
    assert invoke("rm", f"hf:{REPO}/{names[0]}", "--yes").exit_code == 0
    assert kept(hub_cache) == []


@pytest.mark.usefixtures("hub")
def test_which_quantization(hub_cache):
    for text, size in ((REPO, len(DATA)), (f"{REPO}:Q8_0", 1000)):
        assert f"{size / 1000:.2f} kB" in invoke("pull", text).stdout
    for text, message in (
        (f"{REPO}:Q2_K", "has no Q2_K; choose Q4_K_M, Q8_0"),
        (f"{REPO}:none.gguf", "has no none.gguf; choose"),
    ):
        result = invoke("pull", text)
        assert (result.exit_code, result.stderr.count("\n")) == (3, 1)
        assert message in result.stderr
    assert invoke("rm", f"hf:{REPO}:Q8_0", "-y").exit_code == 0
    assert [Path(p).name for p in kept(hub_cache) if p.endswith(".gguf")] == ["model-Q4_K_M.gguf"]
    assert "not a GGUF file" in invoke("show", f"hf:{REPO}:Q4_K_M").stderr
    assert "Q8_0" in invoke("show", f"{REPO}:Q8_0").stdout


def test_a_broken_connection_goes_on_where_it_ended(hub, hub_cache):
    hub.cuts = [2500, 0]
    assert invoke("pull", REPO).exit_code == 0
    assert hub.downloads() == [None, "bytes=2000-", "bytes=2000-"]
    assert {(hub_cache / path).read_bytes() == DATA for path in kept(hub_cache)} == {True}


def test_the_next_run_goes_on_where_a_broken_one_ended(hub, hub_cache):
    hub.cuts = [2500] + [0] * 5
    result = invoke("pull", REPO)
    assert (result.exit_code, result.stderr.count("\n")) == (3, 1)
    assert "cannot be reached" in result.stderr
    (partial,) = kept(hub_cache)
    assert (hub_cache / partial).read_bytes() == DATA[:2000]
    hub.requests.clear()
    assert invoke("pull", REPO).exit_code == 0
    assert hub.downloads() == ["bytes=2000-"]
    assert {(hub_cache / path).read_bytes() == DATA for path in kept(hub_cache)} == {True}
    assert len(kept(hub_cache)) == 2


@pytest.mark.parametrize("there", [b"x" * 2000, DATA + b"x", DATA[::-1]])
@pytest.mark.usefixtures("hub")
def test_a_rest_that_does_not_fit_is_deleted(there, hub_cache):
    blobs = hub_cache / "models--owner--model-GGUF" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{hashlib.sha256(DATA).hexdigest()}.incomplete").write_bytes(there)
    result = invoke("pull", REPO)
    assert (result.exit_code, kept(hub_cache)) == (3, [])
    assert "it is deleted, try again" in result.stderr
    assert invoke("pull", REPO).exit_code == 0


def test_two_at_once(hub, hub_cache):
    lock = hub_cache / ".locks" / "models--owner--model-GGUF"
    lock.mkdir(parents=True)
    with FileLock(lock / f"{hashlib.sha256(DATA).hexdigest()}.lock"):
        result = invoke("pull", REPO)
    assert (result.exit_code, hub.downloads()) == (3, [])
    assert "another program is fetching it" in result.stderr


def wrong(data):
    return {"listed": {"model-Q4_K_M.gguf": data}}


FAULTS = {
    "wrong hash": (wrong(DATA[::-1]), 3, "expected SHA-256"),
    "too short": (wrong(DATA + b"x"), 3, "bytes, got"),
    "another file": ({"headers": {"ETag": f'"{"0" * 64}"'}}, 3, "another file than it lists"),
    "path as etag": ({"headers": {"ETag": '"../../../../out"'}}, 3, "another file than it lists"),
    "path as commit": ({"headers": {"X-Repo-Commit": "../../../out"}}, 3, "another file"),
    "404": ({"status": 404}, 3, "check the name"),
    "401": ({"token": "right"}, 3, "set HF_TOKEN"),
    "gated": ({"status": 403, "headers": {"X-Error-Code": "GatedRepo"}}, 3, "agree to terms first"),
    "503": ({"status": 503}, 3, "status 503; try again later"),
    "no hub": ({"page": b"<html>"}, 3, "does not answer as a Hugging Face hub"),
    "no listing": ({"page": b"[1]"}, 3, "does not answer as a Hugging Face hub"),
    "nothing listed": ({"page": b'{"id": "owner/model-GGUF"}'}, 3, "has no GGUF model"),
    "odd sizes": (
        {"page": b'{"id": "a", "siblings": [{"rfilename": "a-Q4_K_M.gguf", "size": -1}]}'},
        3,
        "has no GGUF model",
    ),
    "cannot run": ({"arch": "abacus"}, 2, "qrt cannot run the architecture abacus yet"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_line_and_leaves_nothing(name, hub, hub_cache):
    fault, code, message = FAULTS[name]
    for key, value in fault.items():
        setattr(hub, key, value)
    result = invoke("pull", REPO)
    assert result.exit_code == code
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert kept(hub_cache) == []
    assert not list(hub_cache.parent.rglob("out*"))


@pytest.mark.usefixtures("hub_cache")
def test_no_network(monkeypatch):
    at(monkeypatch, "http://127.0.0.1:9")
    result = invoke("pull", REPO)
    assert (result.exit_code, result.stderr.count("\n")) == (3, 1)
    assert "http://127.0.0.1:9 cannot be reached" in result.stderr


def test_offline(hub, monkeypatch):
    assert invoke("pull", REPO).exit_code == 0
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    assert "model-Q4_K_M.gguf" in invoke("pull", REPO).stdout
    result = invoke("pull", "owner/other-GGUF")
    assert (result.exit_code, hub.requests) == (3, [])
    assert "HF_HUB_OFFLINE forbids" in result.stderr


def test_a_full_disk(hub, hub_cache, monkeypatch):
    def http_get(_, temp_file, **__):
        temp_file.write(DATA[:5000])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("huggingface_hub.file_download.http_get", http_get)
        result = invoke("pull", REPO)
    assert (result.exit_code, kept(hub_cache)) == (3, [])
    assert "the disk is full" in result.stderr
    usage = type("Usage", (), {"free": 5000})
    monkeypatch.setattr("qrt.hub.download.shutil.disk_usage", lambda _: usage)
    result = invoke("pull", REPO)
    assert (result.exit_code, hub.downloads()) == (3, [])
    assert "make room" in result.stderr


def test_a_token_and_an_architecture_that_is_wanted_all_the_same(hub, hub_cache, monkeypatch):
    hub.token, hub.arch = "right", "abacus"
    monkeypatch.setenv("HF_TOKEN", "right")
    result = invoke("pull", REPO, "--yes")
    assert (result.exit_code, len(kept(hub_cache))) == (0, 2)


def test_a_token_is_not_sent_on_to_where_the_files_are(hub, hub_cache, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    with running(Hub(files=hub.files)) as storage:
        hub.storage = storage
        assert (invoke("pull", REPO).exit_code, len(kept(hub_cache))) == (0, 2)
    assert set(hub.tokens) == {"Bearer secret"}
    assert (storage.downloads(), set(storage.tokens)) == ([None], {None})


def test_the_command_itself(hub, hub_cache):
    environ = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(hub_cache.parent / "hf")}
    command = [sys.executable, "-m", "qrt", "pull"]
    done, failed = (
        subprocess.run([*command, repo], capture_output=True, text=True, env=environ, check=False)
        for repo in (REPO, "owner/none")
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (hub_cache.parent / "hf" / "hub" / "models--owner--model-GGUF").is_dir()
    assert (failed.returncode, failed.stderr.count("\n")) == (3, 1)
    assert "Traceback" not in failed.stderr
