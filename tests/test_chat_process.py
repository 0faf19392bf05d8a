"""The process of a chat template: its limits, its life and its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from chats import TALK, rendered, vocabulary

from qrt.errors import TemplateError
from qrt.text import ChatTemplate
from qrt.text.chat_limits import Limits
from qrt.text.chat_process import start_early

TOKENIZER = vocabulary("<s>")
SHORT = Limits(seconds=0.3, grace_seconds=0.1)
ENDLESS = "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"
GREETING = "{{ messages[0].content }}"
ON_DEMAND = "{% if endless is defined %}" + ENDLESS + "{% endif %}" + GREETING
posix = pytest.mark.skipif(sys.platform == "win32", reason="fork, signals and rlimits are POSIX")
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ " + "~".join("a" * 65000) + " }}", "ran longer than 0.3 s"),
        ("{{ range(100000)|list|sort|unique|sort|unique|map('string')|sort|list }}" * 1000, "ran"),
        ("{{ 5|round(-1000000000) }}", "too large"),
        ("{{ [5]|map('round', -1000000000)|list }}", "too large"),
        ("{% set s = ':' * 200000 %}{{ s % 1 }}", "not all arguments"),
        ("{{ range(2000)|list|tojson(indent='a'*500000) }}", "too large"),
    ],
    ids=["compilation", "work", "round", "map round", "pattern", "indent"],
)
def test_time_is_limited(source: str, message: str) -> None:
    template = ChatTemplate(source, TOKENIZER, SHORT)
    start = time.monotonic()
    with pytest.raises(TemplateError, match=message):
        template.render(TALK)
    assert time.monotonic() - start < 3  # the start of a process included


def test_time_is_limited_for_all_forms_together() -> None:
    template = ChatTemplate(ON_DEMAND, TOKENIZER, Limits(seconds=0.6))
    template.render(TALK)
    start = time.monotonic()
    with pytest.raises(TemplateError, match="ran longer"):
        template.render([{"role": "developer", "content": "Be brief."}, *TALK], {"endless": 1})
    assert time.monotonic() - start < 1.2


@posix
def test_memory_is_limited() -> None:
    source = "".join(f"{{% set a{i} = 'a' * 4000000 %}}" for i in range(60))
    limits = Limits(process_bytes=128 * 1024 * 1024)
    with pytest.raises(TemplateError, match="memory"):
        ChatTemplate(source, TOKENIZER, limits).render(TALK)


def test_a_stopped_template_starts_anew() -> None:
    template = ChatTemplate(ON_DEMAND, TOKENIZER, SHORT)
    for _ in range(2):
        with pytest.raises(TemplateError, match=r"ran longer than 0\.3 s"):
            template.render(TALK, {"endless": 1})
        assert rendered(template, TALK) == "Hi"


def test_many_threads_share_a_template() -> None:
    template = ChatTemplate(GREETING, TOKENIZER)

    def answer(i: int) -> str:
        return rendered(template, [{"role": "user", "content": f"{i}" * 30000}])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(answer, range(40))) == [f"{i}" * 30000 for i in range(40)]


def test_a_machine_that_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(TemplateError, match=r"cannot start a process .*: No such"):
            ChatTemplate(GREETING, TOKENIZER)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(TemplateError, match="Jinja2 cannot be imported"):
        ChatTemplate(GREETING, TOKENIZER).render(TALK)


def test_the_process_imports_little() -> None:
    code = "import sys, qrt.text.chat_worker; print({'numpy', 'numba'} & set(sys.modules))"
    assert run(code) == "set()\n"


def run(code: str) -> str:
    """What a Python process prints that runs `code` beside these tests."""
    command = [sys.executable, "-W", "error", "-c", code]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    return done.stdout


def children(of: int) -> set[int]:
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text(errors="replace").rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == of and state != "Z":
            found.add(int(stat.parent.name))
    return found


def wait_for_end(pid: int) -> bool:
    """Whether process `pid` ends within some seconds."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


@linux
def test_one_process_until_it_is_killed() -> None:
    before = children(os.getpid())
    start_early()
    early = children(os.getpid()) - before
    template = ChatTemplate(GREETING, TOKENIZER)
    for _ in range(3):
        template.render(TALK)
    assert children(os.getpid()) - before == early
    os.kill(early.pop(), signal.SIGKILL)
    time.sleep(0.1)
    assert rendered(template, TALK) == "Hi"
    del template
    assert children(os.getpid()) == before


START = """
import os, sys, time
from chats import TALK, rendered, vocabulary
from qrt.text import ChatTemplate
template = ChatTemplate({source!r}, vocabulary("<s>"))
"""


@linux
@pytest.mark.parametrize("source", [GREETING, ENDLESS])
def test_no_orphan_is_left_by_a_killed_parent(source: str) -> None:
    code = START.format(source=source) + "print(flush=True)\ntemplate.render(TALK)\ninput()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        time.sleep(0.3)
        (worker,) = children(parent.pid)
        parent.kill()
    assert wait_for_end(worker)


@posix
def test_a_fork_has_a_process_of_its_own() -> None:
    code = START.format(source=GREETING) + (
        "import warnings\n"
        "warnings.simplefilter('ignore', DeprecationWarning)  # numpy has threads of its own\n"
        "template.render(TALK)\n"
        "child = os.fork()\n"
        "print(rendered(template, TALK), flush=True)\n"
        "if not child: sys.exit()\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "print(rendered(template, TALK))\n"
    )
    assert run(code) == "Hi\n" * 3


@pytest.fixture
def interruptible() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@posix
@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_the_render_alone() -> None:
    template = ChatTemplate(ON_DEMAND, TOKENIZER, Limits(seconds=30))
    template.render(TALK)
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT)).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        template.render(TALK, {"endless": 1})
    assert time.monotonic() - start < 5
    assert rendered(template, TALK) == "Hi"


@posix
def test_ctrl_c_in_a_terminal_is_for_the_parent() -> None:
    code = START.format(source=GREETING) + (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "os.setpgid(0, 0)\n"
        "os.killpg(0, signal.SIGINT)\n"
        "print(rendered(template, TALK))\n"
        "os.killpg(0, signal.SIGINT)\n"
        "print(rendered(template, TALK))\n"
    )
    assert run(code) == "Hi\n" * 2
