"""Servers in processes of their own: found by their user, listed, told to let go and to end."""

from __future__ import annotations

import json
import os
import plistlib
import shlex
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from screen import Screen
from typer.testing import CliRunner

from qrt.cli.app import app
from qrt.config import cache_dir
from qrt.places import state_dir
from qrt.server.whereabouts import Whereabouts, known, new_nonce, of_this_process, told

KERNELS = str(cache_dir())
PATIENCE_S = 60


@contextmanager
def serving(*args):
    """`qrt serve` in a process of its own; (process, its address)."""
    command = [sys.executable, "-m", "qrt", "serve", "--port", "0", *args]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        line = process.stderr.readline().decode()
        assert "http://" in line, line
        yield process, "http://" + line.split("http://")[1].split(",")[0].strip()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.fixture
def machine(hub_cache, monkeypatch):  # noqa: ARG001
    """One with nothing but the embedded model, on which no server runs."""
    monkeypatch.setenv("QRT_CACHE_DIR", KERNELS)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("QRT_API_KEY", raising=False)


def qrt(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.mark.usefixtures("machine")
def test_a_server_is_listed_asked_and_ended():
    assert "no server of yours runs" in qrt("ps").stdout
    with serving("--api-key", "secret") as (process, url):
        Thread(target=process.wait, daemon=True).start()  # as a shell does
        answer = qrt("complete", "--server", "-p", "def f(", "-n", 4, "--temp", 0, "pydoc")
        assert answer.exit_code == 0, answer.stderr
        assert answer.stdout
        assert url in answer.stderr
        alone = qrt("complete", "-p", "def f(", "-n", 4, "--temp", 0)
        assert answer.stdout == alone.stdout
        found = json.loads(qrt("ps", "--json").stdout)
        assert [(server["url"], server["pid"]) for server in found] == [(url, process.pid)]
        assert found[0]["models"][0]["status"]["value"] == "loaded"
        shown = qrt("ps").stdout
        assert "pydoc" in shown
        assert "in " in shown
        assert qrt("stop", "pydoc").exit_code == 0
        assert "no model is loaded" in qrt("ps").stdout
        refused = qrt("stop", "nothing")
        assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
        ended = qrt("stop")
        assert (ended.exit_code, ended.stdout) == (0, f"{url} has ended\n")
        assert process.wait(5) == 0
    assert not list((state_dir() / "servers").iterdir())
    assert "no server of yours runs" in qrt("stop").stderr


@pytest.mark.usefixtures("machine")
def test_a_chat_answer_comes_from_a_server_that_runs():
    asked = ("run", "What does str.split do?", "-n", 12, "--temp", 0, "--plain")
    with serving("pydoc"):
        answer = qrt(*asked, "--server")
        assert answer.exit_code == 0, answer.stderr
        assert answer.stdout == qrt(*asked).stdout
        wrong = qrt(*asked, "--server", "-m", "no-such-model:7b")
        assert (wrong.exit_code, wrong.stderr.count("\n")) == (2, 1)
        assert "has only pydoc" in wrong.stderr
    gone = qrt(*asked, "--server")
    assert (gone.exit_code, gone.stderr.count("\n")) == (2, 1)
    assert "no server of yours runs" in gone.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there is no pty")
@pytest.mark.usefixtures("machine")
def test_a_chat_with_a_server_that_runs():
    with serving():
        flags = ("--server", "--temp", "0", "--plain")
        screen = Screen(sys.executable, "-m", "qrt", "run", *flags, NO_COLOR="1")
        screen.wait_for(r"pydoc at http://[\d.:]+; /help for help")
        screen.wait_for(r"\?2004h")
        screen.type("what is math.sqrt?\r")
        screen.wait_for(r"`math.sqrt\(x\)`")
        screen.wait_for(r"\?2004h")
        screen.type("/set top_k 3\r")
        screen.wait_for(r"/set works on a model that is loaded here")
        screen.wait_for(r"\?2004h")
        screen.type("/regen\r")
        screen.wait_for(r"`math.sqrt\(x\)`")
        screen.type("/undo\r")
        screen.wait_for("taken back: what is math.sqrt")
        screen.type("/exit\r")
        assert screen.exit_code() == 0


@pytest.mark.usefixtures("machine")
def test_a_killed_server_leaves_nothing_that_misleads():
    with serving() as (process, _):
        assert len(known()) == 1
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert list((state_dir() / "servers").iterdir())
        assert "no server of yours runs" in qrt("ps").stdout
        assert not list((state_dir() / "servers").iterdir())


@pytest.mark.usefixtures("machine")
def test_who_takes_the_port_of_a_server_gets_neither_key_nor_prompt():
    with serving() as (process, url):
        stale = Whereabouts(url, process.pid, "f" * 64, "0" * 64)
        with told(stale):
            assert [where.secret for where in known()] == ["f" * 64]
            assert "no server of yours runs" in qrt("complete", "--server", "-p", "x").stderr


@pytest.mark.usefixtures("machine")
def test_the_file_of_a_server_is_its_users_own():
    where = of_this_process("http://127.0.0.1:1")
    with told(where):
        folder = state_dir() / "servers"
        path = folder / f"{os.getpid()}.json"
        assert (path.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)
        assert known() == [where]
        path.write_text('{"url": 3}')
        assert known() == []
        folder.chmod(0o777)
        assert known() == []
    nonce = new_nonce()
    assert where.is_proven(nonce, where.proof(nonce))
    assert not where.is_proven(nonce, where.proof(new_nonce()))
    assert not where.is_proven(nonce, "\udcff")
    assert not where.is_proven(nonce, None)


def test_units_of_services(monkeypatch):
    words = ["qrt", "serve", "a b%c.gguf", "--install-service", "systemd", "--api-key", "$x"]
    monkeypatch.setattr(sys, "argv", words)
    unit = qrt(*words[1:])
    assert unit.exit_code == 0
    line = next(line for line in unit.stdout.splitlines() if line.startswith("ExecStart="))
    command = shlex.split(line.removeprefix("ExecStart="))
    assert command[1:] == ["-m", "qrt", "serve", "a b%%c.gguf", "--api-key", "$$x"]
    assert Path(command[0]).is_absolute()
    assert "KillSignal=SIGTERM" in unit.stdout
    monkeypatch.setattr(sys, "argv", ["qrt", "serve", "<&>", "--install-service=launchd"])
    plist = plistlib.loads(qrt("serve", "<&>", "--install-service=launchd").stdout.encode())
    assert plist["ProgramArguments"][1:] == ["-m", "qrt", "serve", "<&>"]
    assert plist["ExitTimeOut"] > 30
    assert qrt("serve", "--install-service", "cron").exit_code == 2
