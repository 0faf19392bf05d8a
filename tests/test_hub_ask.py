"""A model that is not on this machine: what is asked, what is said, what is fetched; search."""

from __future__ import annotations

import json
import sys

import pytest
from hub_server import REPO, Hub, at, invoke, kept
from screen import Screen

from qrt.cli.arguments import model_file

LINK = f"https://huggingface.co/{REPO}/blob/main/model-Q4_K_M.gguf?download=true"
SPELLINGS = (f"hf.co/{REPO}", f"{REPO.upper()}:q4_k_m", LINK, f"hf:{REPO}")

needs_pty = pytest.mark.skipif(sys.platform == "win32", reason="there is no pty")


@pytest.fixture
def real(hub):
    """The hub with a model that runs."""
    hub.files["model-Q4_K_M.gguf"] = model_file(None).read_bytes()
    return hub


@pytest.mark.parametrize("name", SPELLINGS)
def test_without_a_terminal_the_command_is_said_and_nothing_is_asked(name, real):
    for command in (["run", name, "hi"], ["complete", name, "-p", "hi"], ["info", name]):
        missing = invoke(*command)
        assert (missing.exit_code, missing.stdout, real.requests) == (3, "", [])
        assert missing.stderr.startswith(f"error: {name}: ")
        assert "`qrt pull " in missing.stderr
        assert missing.stderr.count("\n") == 1
    pull = missing.stderr.split("`")[1].split()
    assert invoke(*pull[1:]).exit_code == 0
    assert invoke("tokenize", name, "hi", "--ids").exit_code == 0


@pytest.mark.parametrize("name", SPELLINGS)
def test_yes_pulls_what_any_spelling_means(name, real, hub_cache):
    answer = invoke("run", "-y", name, "hi", "-n", "2", "--backend", "reference")
    assert answer.exit_code == 0
    assert answer.stdout.strip()
    assert f"{REPO}: model-Q4_K_M.gguf\n11.81 MB; to run, about" in answer.stderr
    assert len(real.downloads()) == 1
    for other in SPELLINGS:
        assert invoke("tokenize", other, "hi").exit_code == 0
    assert len(kept(hub_cache)) == 2


def test_yes_fetches_nothing_that_cannot_run(real):
    real.arch = "abacus"
    refused = invoke("run", "--yes", REPO, "hi")
    assert (refused.exit_code, refused.stdout, real.downloads()) == (3, "", [])
    assert "cannot run the architecture abacus yet" in refused.stderr


class Machine:
    """Terminals on a machine with nothing but the hub."""

    def __init__(self, hub, cache):
        hf = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(cache.parent / "hf")}
        self.env = {**hf, "HF_HUB_DISABLE_TELEMETRY": "1"}

    def screen(self, *command, **options):
        return Screen(sys.executable, "-m", "qrt", *command, **self.env, **options)


@pytest.fixture
def machine(real, hub_cache):
    return Machine(real, hub_cache)


@needs_pty
def test_a_person_is_told_size_and_memory_and_asked(machine, real):
    command = ("run", REPO, "hi", "-n", "2", "--backend", "reference")
    for typed in ("n\r", "\x04"):
        screen = machine.screen(*command)
        screen.wait_for(r"owner/model-GGUF is not on this machine")
        screen.wait_for(r"11\.81 MB; to run, about \d+\.\d+ MB of memory and that of the context")
        screen.wait_for(r"GB are free here: it fits\s+Pull it\? \[Y/n\] ")
        screen.type(typed)
        assert screen.exit_code() == 3
        assert "`qrt pull\r\nowner/model-GGUF` asks the hub for it" in screen.text
    assert real.downloads() == []
    screen = machine.screen(*command)
    screen.wait_for(r"\[Y/n\] ")
    screen.type("\r")
    assert screen.exit_code() == 0
    assert real.downloads() == [None]
    assert "error" not in screen.text


@needs_pty
@pytest.mark.parametrize("redirected", ["</dev/null", "2>&1 | cat"])
def test_nobody_is_asked_who_does_not_see_or_cannot_answer(machine, real, redirected):
    command = f'"$0" -m qrt run {REPO} hi {redirected}'
    screen = Screen("sh", "-c", command, sys.executable, **machine.env)
    screen.exit_code()
    assert "asks the hub for it" in screen.text
    assert "[Y/n]" not in screen.text
    assert real.requests == []


@needs_pty
def test_a_model_too_large_is_not_pulled_by_an_empty_line(machine, real):
    real.listed["model-Q4_K_M.gguf"] = b"x" * 10
    real.listing = lambda: json.dumps(
        {
            "id": REPO,
            "siblings": [{"rfilename": "model-Q4_K_M.gguf", "size": 10**15, "lfs": None}],
        }
    ).encode()
    screen = machine.screen("complete", REPO, "-p", "hi")
    screen.wait_for(r"does not fit[^?]*Pull it all the same\? \[y/N\] ")
    screen.type("\r")
    assert screen.exit_code() == 3


@pytest.mark.usefixtures("hub_cache")
def test_what_is_no_model_names_what_is_near(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny-Q8_0.gguf").write_bytes(b"")
    (tmp_path / "models").mkdir()
    for text, said in (
        ("lama3.2:1b", "the nearest names are llama3.2:1b, llama3.2:3b; `qrt pull llama3.2:1b`"),
        ("qwn3", "the nearest names are qwen3:0.6b, qwen3:1.7b, qwen3:4b; "),
        ("mistrl", "the nearest name is mistral:7b; `qrt pull mistral:7b`"),
        ("tiny-Q8.gguf", "the nearest is tiny-Q8_0.gguf"),
        ("meta-llama-3.1-8b-instruct-q8_0.gguf", "`qrt pull llama3.1:8b:Q8_0` fetches a model of"),
        ("models/none.gguf", "no such file\n"),
        ("models/none", "no such file\n"),
        ("https://example.com/m.gguf", "no such file\n"),
        ("https://hf.co/o", "expected OWNER/NAME"),
        ("foo", "`qrt search foo` asks the hub"),
        ("codellama:7b", "`qrt search codellama 7b` asks the hub"),
        ("llama3.2:1b-instruct-q4_K_M", "the nearest names are llama3.2:1b"),
    ):
        for command in (["show", text], ["info", text], ["run", text, "a prompt"]):
            result = invoke(*command)
            assert (result.exit_code, result.stdout) == (2 if "hf.co" in text else 3, "")
            assert said in result.stderr
            assert result.stderr.count("\n") == 1


@pytest.mark.usefixtures("hub_cache")
def test_a_pull_of_what_is_no_name_says_what_is_near():
    for text, said in (
        ("lama3.2:1b", "`qrt pull llama3.2:1b`"),
        ("foo", "`qrt search foo`"),
        ("Llama3.2", "size too: llama3.2:1b, llama3.2:3b"),
    ):
        result = invoke("pull", text)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert said in result.stderr


@pytest.fixture
def busy_hub(hub):
    """Three repositories, of which one cannot run and one shows its files to nobody."""
    hub.files["model-MXFP4_MOE.gguf"] = b"x" * 10**6
    hub.files["odd.gguf"] = b"x"
    hub.others = [
        Hub("zoo/Model-B-GGUF", {"b-Q8_0.gguf": b"x" * 2000}, arch="abacus", n_downloads=1234567),
        Hub("some/model-closed", n_downloads=3, page=b"<html>"),
        Hub("some/thing", n_downloads=99),
    ]
    return hub


def test_search_shows_the_most_downloaded_first_with_sizes(busy_hub):
    result = invoke("search", "Model")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "zoo/Model-B-GGUF, 1,234,567 downloads, abacus: qrt cannot run abacus yet",
        "  Q8_0 0.00 GB",
        "owner/model-GGUF, 7 downloads, llama: runs",
        "  odd.gguf 0.00, Q8_0 0.00, Q4_K_M 0.00, MXFP4_MOE 0.00 GB",
        "some/model-closed, 3 downloads",
        "  its files are not shown to everyone",
        "fetch one: qrt pull zoo/Model-B-GGUF:QUANT",
    ]
    found = json.loads(invoke("search", "model", "gguf", "--limit", "2", "--json").stdout)
    assert [(hit["repo"], hit["runs"]) for hit in found] == [
        ("zoo/Model-B-GGUF", False),
        (REPO, True),
    ]
    assert found[1]["models"][-1] == {
        "name": f"{REPO}:MXFP4_MOE",
        "file": "model-MXFP4_MOE.gguf",
        "bytes": 10**6,
    }
    assert busy_hub.downloads() == []


@pytest.mark.parametrize(
    ("fault", "words", "message"),
    [
        ({}, ["nothing", "here"], "nothing here: the hub has no GGUF model of this name"),
        ({"status": 503}, ["model"], "model: http://127.0.0.1:"),
        ({"page": b"<html>"}, ["model"], "does not answer as a Hugging Face hub does"),
        ({"page": b'{"error": "no"}'}, ["model"], "does not answer as a Hugging Face hub does"),
        ({"page": b'[{"id": "../../x"}]'}, ["model"], "has no GGUF model"),
        ({}, ["model", "-n", "0"], "--limit must be between 1 and 100"),
    ],
)
def test_a_search_that_fails_is_one_line(fault, words, message, hub):
    for key, value in fault.items():
        setattr(hub, key, value)
    result = invoke("search", *words)
    assert (result.exit_code, result.stdout) == (2 if "--limit" in message else 3, "")
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.usefixtures("hub_cache")
def test_a_search_without_a_network_is_one_line(monkeypatch):
    at(monkeypatch, "http://127.0.0.1:9")
    result = invoke("search", "model")
    assert (result.exit_code, result.stderr.count("\n")) == (3, 1)
    assert "model: http://127.0.0.1:9 cannot be reached" in result.stderr
