"""Loading, unloading and uploading over HTTP, and the file of settings."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path

import httpx2
import numpy as np
import pytest
from hub_server import invoke
from served import served
from test_cli import rewritten

import qrt
from qrt.config import cache_dir, embedded_model
from qrt.errors import InputError
from qrt.hub import own
from qrt.places import data_dir
from qrt.server.keep_alive import keep_alive_s
from qrt.server.many import ManyModels
from qrt.server.settings import read_settings, settings_of

EMBEDDED = Path(str(embedded_model()))
KERNELS = str(cache_dir())


@pytest.fixture
def site(hub_cache, monkeypatch):  # noqa: ARG001
    """A server of many models: local:a.gguf and the embedded one."""
    monkeypatch.setenv("QRT_CACHE_DIR", KERNELS)
    folder = data_dir() / "models"
    folder.mkdir(parents=True)
    (folder / "a.gguf").symlink_to(EMBEDDED)
    models = ManyModels(settings_of({"models": {"own": {"model": "local:a.gguf", "n_ctx": 128}}}))
    with (
        served(models=models) as running,
        httpx2.Client(base_url=running.base_url, timeout=60) as client,
    ):
        yield client


def stages(client):
    listed = client.get("/models").json()["data"]
    return {model["id"]: model["status"]["value"] for model in listed}


def test_models_are_loaded_and_unloaded_and_told(site):
    assert stages(site) == dict.fromkeys(("own", "local:a.gguf", "pydoc", "embed"), "unloaded")
    with site.stream("POST", "/models/load", json={"model": "own", "stream": True}) as response:
        lines = [line for line in response.iter_lines() if line.startswith("data: ")]
    told = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert told[-1]["status"]["value"] == "loaded"
    assert {state["status"]["value"] for state in told[:-1]} == {"loading"}
    assert told[-1]["memory"] > 10_000_000
    assert 0 < told[-1]["expires_in_s"] <= 300
    assert stages(site)["own"] == "loaded"
    meta = next(m for m in site.get("/models").json()["data"] if m["id"] == "own")["meta"]
    assert meta["n_ctx"] == 128
    answer = site.post("/v1/completions", json={"model": "own", "prompt": "x", "max_tokens": 2})
    assert answer.json()["model"] == "own"
    gone = site.post("/models/unload", json={"model": "own"}).json()
    assert gone["status"]["value"] == "unloaded" == stages(site)["own"]


def test_models_are_listed_with_what_they_are_for(site, hub_cache):  # noqa: ARG001
    folder = data_dir() / "models"
    rewritten(folder / "v.gguf", metadata={"llama.pooling_type": 1})
    (folder / "broken.gguf").write_bytes(b"GGUF")
    settings = {
        "vectors": {"model": "local:a.gguf", "pooling": "cls"},
        "said": {"model": "local:v.gguf", "embedding": False},
    }
    expected = {
        "vectors": ["embedding"],
        "said": ["completion"],
        "local:v.gguf": ["embedding"],
        "local:a.gguf": ["completion"],
        "pydoc": ["completion"],
        "embed": ["embedding"],
        "local:broken.gguf": [],
    }
    with served(models=ManyModels(settings_of({"models": settings}))) as many:
        for _ in range(2):
            for path in ("/v1/models", "/models"):
                listed = many.ask(path).json["data"]
                assert {one["id"]: one["capabilities"] for one in listed} == expected
            said = {"model": "said", "prompt": "def f(", "max_tokens": 3}
            assert many.ask("/v1/completions", said).status == 200
            asked = {"model": "vectors", "input": "def f("}
            vector = many.ask("/v1/embeddings", asked).json["data"][0]["embedding"]
        with qrt.load(folder / "a.gguf", embedding=True) as model:
            assert np.allclose(model.embed("def f(", pooling="cls"), vector)


def test_what_a_request_may_say_of_keeping(site):
    asked = {"model": "pydoc", "messages": [{"role": "user", "content": "hi"}], "stream": False}
    asked["options"] = {"num_predict": 1}
    for keep_alive, stage in ((-1, "loaded"), ("0s", "unloaded")):
        assert site.post("/api/chat", json=asked | {"keep_alive": keep_alive}).status_code == 200
        began = time.monotonic()
        while stages(site)["pydoc"] != stage:
            assert time.monotonic() - began < 20
    assert site.post("/api/chat", json=asked | {"keep_alive": "soon"}).status_code == 400


def test_no_such_model(site):
    for path, body in (
        ("/v1/completions", {"prompt": "x"}),
        ("/models/load", {}),
        ("/models/unload", {}),
        ("/models/load", {"stream": True}),
    ):
        answer = site.post(path, json={"model": "../../etc/passwd", **body})
        assert answer.status_code == 404
        assert "there is no model" in answer.json()["error"]["message"]


def test_a_file_is_uploaded_and_runs(site):
    page = {"Origin": str(site.base_url).rstrip("/")}
    data = EMBEDDED.read_bytes()
    for name, age_s in ((".upload-cut-short", 7200), (".upload-under-way", 10)):
        path = data_dir() / "models" / name
        path.touch()
        os.utime(path, (time.time() - age_s,) * 2)
    answer = site.put("/models/upload", params={"name": "mine.gguf"}, content=data, headers=page)
    assert (answer.status_code, answer.json()["id"]) == (201, "local:mine.gguf")
    assert stages(site)["local:mine.gguf"] == "unloaded"
    assert site.post("/models/load", json={"model": "local:mine.gguf"}).status_code == 200
    again = site.put("/models/upload", params={"name": "mine.gguf"}, content=data, headers=page)
    assert again.status_code == 400
    left = [path.name for path in (data_dir() / "models").glob(".*")]
    assert left == [".upload-under-way"]
    assert invoke("rm", "local:mine.gguf", "--yes").exit_code == 0
    assert "local:mine.gguf" not in [
        one["name"] for one in json.loads(invoke("list", "--json").stdout)
    ]


@pytest.mark.parametrize(
    ("name", "body", "headers", "status"),
    [
        ("new.gguf", b"GGUF" + bytes(100), {}, 403),
        ("new.gguf", b"GGUF" + bytes(100), {"Origin": "http://evil.example"}, 403),
        ("new.gguf", b"GGUF" + bytes(100), {"Origin": "own"}, 400),  # no version 0
        ("new.gguf", b"PK\x03\x04" + bytes(100), {"Origin": "own"}, 400),
        ("new.gguf", b"", {"Origin": "own"}, 400),
        ("../new.gguf", b"GGUF", {"Origin": "own"}, 400),
        ("a/new.gguf", b"GGUF", {"Origin": "own"}, 400),
        ("con.gguf", b"GGUF", {"Origin": "own"}, 400),
        ("new.txt", b"GGUF", {"Origin": "own"}, 400),
        ("", b"GGUF", {"Origin": "own"}, 400),
        ("a.gguf", b"GGUF", {"Origin": "own"}, 400),
    ],
)
def test_no_other_upload_leaves_anything(site, name, body, headers, status):
    own_page = str(site.base_url).rstrip("/")
    headers = {key: own_page if value == "own" else value for key, value in headers.items()}
    answer = site.put("/models/upload", params={"name": name}, content=body, headers=headers)
    assert answer.status_code == status
    assert "/home/" not in answer.text
    assert [path.name for path in (data_dir() / "models").iterdir()] == ["a.gguf"]


def test_an_upload_needs_a_length_and_room(site, monkeypatch):
    page = {"Origin": str(site.base_url).rstrip("/")}
    where = {"params": {"name": "n.gguf"}, "headers": page}
    assert site.put("/models/upload", content=iter([b"GGUF"]), **where).status_code == 411
    monkeypatch.setattr(own, "_SPARE_BYTES", 1 << 60)
    answer = site.put("/models/upload", content=b"GGUF", **where)
    assert (answer.status_code, "make room" in answer.text) == (507, True)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(300, 300), ("300", 300), ("5m", 300), ("1h30m", 5400), ("1.5s", 1.5), (0, 0), ("0", 0),
     (-1, math.inf), ("-1", math.inf), ("-1m", math.inf), ("100ms", 0.1)],
)  # fmt: skip
def test_times_to_keep_a_model(value, seconds):
    assert keep_alive_s(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", ["", "soon", "5m!", True, None, [], float("nan"), "1" * 99])
def test_no_times(value):
    with pytest.raises(InputError, match="keep_alive: expected"):
        keep_alive_s(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("keep_alve = 3", "there is no setting 'keep_alve'; did you mean keep_alive?"),
        ("[models.a]\ntemperature = 1", "models.a: there is no setting 'temperature'"),
        ("[models.a]\nn_ctx = 'x'", "models.a: n_ctx must be an integer"),
        ("[models.a]\nkv_type = 'f8'", "models.a: kv_type must be one of"),
        ("[models.a.options]\ntemprature = 1", "models.a: "),
        ("[models.a.options]\ntop_k = 'x'", "models.a: top_k must be"),
        ("[models.a]\naliases = ['b']\n[models.b]", "'b' names two models"),
        ("models = 3", "models must be a table"),
        ("max_loaded = 0", "max_loaded must be between"),
        ("keep_alive = 'x'", "keep_alive: expected"),
        ("default = 3", "default: expected a name"),
        ("x = [", "is not TOML"),
    ],
)
def test_mistakes_in_the_file_of_settings_are_named(tmp_path, text, said):
    path = tmp_path / "models.toml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_settings(path)
    assert said in str(error.value)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
