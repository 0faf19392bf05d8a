"""Many models on one server: loaded once when asked for, let go when idle or in the way."""

from __future__ import annotations

import asyncio
import math
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from hub_server import hub_cache  # noqa: F401

from qrt.config import embedded_model
from qrt.errors import ModelError
from qrt.free_memory import FreeMemory
from qrt.places import data_dir
from qrt.server.errors import RefusedError
from qrt.server.many import ManyModels
from qrt.server.settings import settings_of

MB = 1 << 20


class Loaded:
    """Stands in for a model."""

    info = None
    health = SimpleNamespace(n_pages=(32,))

    def __init__(self, name):
        self.name, self.is_closed = name, False

    def close(self):
        self.is_closed = True


class Bench:
    """Many models whose loads are watched; `gate` holds them up, `fails` breaks those named."""

    def __init__(self, n_fitting=math.inf, **settings):
        self.loads, self.models, self.fails = [], [], set()
        self.gate = threading.Event()
        self.gate.set()
        self.n_fitting = n_fitting
        self.many = ManyModels(settings_of(settings), load=self.load, look_at_memory=self.look)

    def load(self, path, offer, progress):  # noqa: ARG002
        self.loads.append(offer.name)
        progress("weights", 1, 2)
        assert self.gate.wait(10)
        if offer.name in self.fails:
            raise ModelError("broken")
        self.models.append(Loaded(offer.name))
        return self.models[-1]

    def look(self):
        """Memory in which so many models fit at a time, each as large as the embedded one."""
        if self.n_fitting == math.inf:
            return FreeMemory()
        left = self.n_fitting - sum(not model.is_closed for model in self.models)
        return FreeMemory(225_000_000 + left * 35_000_000, "of a test")

    def stages(self):
        return {state.name: state.stage for state in self.many.states()}

    async def until(self, name, stage):
        while self.stages()[name] != stage:
            await asyncio.sleep(0.01)

    async def use(self, name, keep_alive=None, until=None):
        async with await self.many.acquire(name, keep_alive) as served:
            if until is not None:
                await until.wait()
            assert not served.model.is_closed
            return served


@pytest.fixture
def here(hub_cache):  # noqa: ARG001, F811
    """A machine with local:a.gguf, local:b.gguf and local:c.gguf."""
    folder = data_dir() / "models"
    folder.mkdir(parents=True)
    for name in "abc":
        (folder / f"{name}.gguf").symlink_to(Path(str(embedded_model())))
    return folder


def run(body):
    return asyncio.run(body())


@pytest.mark.usefixtures("here")
def test_a_model_is_loaded_once_however_many_ask_for_it():
    async def body():
        bench = Bench()
        bench.gate.clear()
        users = [asyncio.create_task(bench.use("local:a.gguf")) for _ in range(5)]
        while not bench.loads:
            await asyncio.sleep(0.01)
        users[0].cancel()  # who gives up takes nobody with him
        bench.gate.set()
        results = await asyncio.gather(*users, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert [r.name for r in results[1:]] == ["local:a.gguf"] * 4
        assert bench.loads == ["local:a.gguf"]
        assert next(s for s in bench.many.states() if s.stage == "loaded").n_requests == 0

    run(body)


@pytest.mark.usefixtures("here")
def test_a_failing_load_is_told_to_all_who_wait_and_harms_no_other():
    async def body():
        bench = Bench()
        bench.fails = {"local:a.gguf"}
        users = [bench.use(f"local:{name}.gguf") for name in ("a", "b", "a")]
        first, other, second = await asyncio.gather(*users, return_exceptions=True)
        assert isinstance(first, ModelError)
        assert isinstance(second, ModelError)
        assert other.name == "local:b.gguf"
        bench.fails = set()
        assert (await bench.use("local:a.gguf")).name == "local:a.gguf"

    run(body)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("limit", [{"n_fitting": 2}, {"max_loaded": 2}], ids=["memory", "number"])
def test_the_one_that_was_idle_longest_makes_room(limit):
    async def body():
        bench = Bench(**limit)
        for name in "abac":
            await bench.use(f"local:{name}.gguf")
        stages = bench.stages()
        assert [stages[f"local:{name}.gguf"] for name in "abc"] == ["loaded", "unloaded", "loaded"]
        assert [model.name[6] for model in bench.models if model.is_closed] == ["b"]

    run(body)


@pytest.mark.usefixtures("here")
def test_one_in_use_goes_only_when_its_requests_have_ended():
    async def body():
        bench, end = Bench(max_loaded=1), asyncio.Event()
        using = asyncio.create_task(bench.use("local:a.gguf", until=end))
        await bench.until("local:a.gguf", "loaded")
        other = asyncio.create_task(bench.use("local:b.gguf"))
        await bench.until("local:a.gguf", "unloading")
        again = asyncio.create_task(bench.use("local:a.gguf"))  # comes back behind the other
        await asyncio.sleep(0.05)
        assert not other.done()
        assert not bench.models[0].is_closed
        end.set()
        await using
        assert (await other).name == "local:b.gguf"
        assert (await again).name == "local:a.gguf"
        assert bench.loads == ["local:a.gguf", "local:b.gguf", "local:a.gguf"]

    run(body)


@pytest.mark.usefixtures("here")
def test_what_cannot_fit_is_refused_before_another_goes_for_it():
    async def body():
        bench = Bench(n_fitting=1)
        await bench.use("local:a.gguf")
        bench.many._look_at_memory = lambda: FreeMemory(1 * MB, "of a test")
        with pytest.raises(RefusedError, match="beside packed weights"):
            await bench.use("local:b.gguf")
        assert bench.stages()["local:a.gguf"] == "loaded"

    run(body)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("keep_alive", "is_kept"), [(0, False), (0.05, False), (math.inf, True), (60, True)]
)
def test_an_idle_model_is_kept_as_long_as_it_was_asked(keep_alive, is_kept):
    async def body():
        bench, end = Bench(), asyncio.Event()
        using = asyncio.create_task(bench.use("local:a.gguf", keep_alive, end))
        await bench.until("local:a.gguf", "loaded")
        await asyncio.sleep(0.1)
        assert bench.stages()["local:a.gguf"] == "loaded"  # while somebody has it
        end.set()
        await using
        if is_kept:
            assert (bench.many.states()[0].expires_s is None) is (keep_alive == math.inf)
            await asyncio.sleep(0.15)
        else:
            await bench.until("local:a.gguf", "unloaded")
        assert bench.models[0].is_closed is not is_kept

    run(body)


@pytest.mark.usefixtures("here")
def test_names_aliases_and_settings():
    async def body():
        coder = {
            "model": "local:b.gguf",
            "aliases": ["gpt-4o", "fast"],
            "n_ctx": 256,
            "options": {"temperature": 0.5},
            "template_vars": {"enable_thinking": False},
        }
        bench = Bench(default="fast", models={"coder": coder})
        names = [entry.name for entry in bench.many.entries()]
        assert names == ["coder", "local:a.gguf", "local:b.gguf", "local:c.gguf", "pydoc", "embed"]
        for name in (None, "coder", "GPT-4o", "fast"):
            served = await bench.use(name)
            assert served.name == "coder"
            assert served.options == {"temperature": 0.5}
            assert served.template_vars == {"enable_thinking": False}
        assert (await bench.use("LOCAL:A.gguf:latest")).name == "local:a.gguf"
        assert bench.loads == ["coder", "local:a.gguf"]
        for name in ("nothing", "/etc/passwd", str(data_dir() / "models" / "a.gguf"), "../a", ""):
            with pytest.raises(RefusedError, match="there is no model") as refused:
                await bench.use(name)
            assert refused.value.http_status == 404

    run(body)


@pytest.mark.usefixtures("here")
def test_the_embedded_model_has_settings_too():
    async def body():
        bench = Bench(models={"pydoc": {"n_ctx": 64}, "small": {"model": "pydoc"}})
        for name in ("pydoc", "small"):
            assert (await bench.use(name)).name == name
        assert [entry.name for entry in bench.many.entries()].count("pydoc") == 1

    run(body)


def test_a_model_that_comes_while_the_server_runs_is_found(here):
    async def body():
        bench = Bench()
        await bench.use("local:a.gguf")
        shutil.copy(here / "a.gguf", here / "new.gguf")
        assert (await bench.use("local:new.gguf")).name == "local:new.gguf"

    run(body)


@pytest.mark.usefixtures("here")
def test_a_request_that_names_no_model_has_what_is_loaded():
    async def body():
        bench = Bench()
        for name in ("b", "c", "b"):
            await bench.use(f"local:{name}.gguf")
        assert (await bench.use(None)).name == "local:b.gguf"
        assert len(bench.loads) == 2

    run(body)


@pytest.mark.usefixtures("here")
def test_listeners_see_every_stage():
    async def body():
        bench = Bench()
        with bench.many.listening() as queue:
            await bench.use("local:a.gguf", 0)
            await bench.until("local:a.gguf", "unloaded")
            told = [queue.get_nowait() for _ in range(queue.qsize())]
        stages = [state.stage for state in told]
        assert list(dict.fromkeys(stages)) == ["loading", "loaded", "unloading", "unloaded"]
        assert ("weights", 1, 2) in [state.progress for state in told]

    run(body)
