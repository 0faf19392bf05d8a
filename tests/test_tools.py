"""Tools in a chat: functions as schemas, calls told from the reply, rounds that run them."""

from __future__ import annotations

import asyncio
import enum
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Optional, TypedDict

import numpy as np
import pytest

import qrt
from qrt.api.functions import bound, function_tool
from qrt.replies import CallArguments, CallBegun, CallEnded, Text, Thought

ASK = [{"role": "user", "content": "How warm is it in Rome?"}]
TEMPLATE = """\
{%- for tool in tools or [] %}{{ tool | tojson }}{% endfor -%}
{%- for m in messages %}{{ m.role }} {{ m.content or '' }}
{%- if m.tool_calls %}<tool_call>{{ m.tool_calls[0].function | tojson }}{% endif -%}{% endfor -%}
"""
CALL = '<tool_call>{"name": "weather", "arguments": {"city": "Rome"}}</tool_call>'


@pytest.fixture(scope="module")
def model():
    with qrt.load(chat_template=TEMPLATE) as loaded:
        yield loaded


class Says:
    """A logits processor that makes the model say one reply after the other."""

    def __init__(self, model, *replies):
        self.replies = iter([[*model.tokenize(r, add_special=False), 0] for r in replies])
        self.end = next(iter(model.tokenizer.eog_ids))
        self.prompts, self.ids, self.left = [], [], []

    def __call__(self, ids, logits):
        if list(ids[:-1]) != self.ids:
            self.prompts.append(list(ids))
            self.left = next(self.replies)
        self.ids = list(ids)
        token = self.left.pop(0) if len(self.left) > 1 else self.end
        forced = np.full_like(logits, -np.inf)
        forced[token] = 0
        return forced


def weather(city: str, days: int = 1) -> dict:
    """How warm it is.

    city: its name,
        in English
    """
    return {"city": city, "warm": 20 + days}


def test_calls_are_told_from_the_text(model):
    says = Says(model, f"<think>Hm.</think>I look.{CALL}")
    done = model.chat(ASK, tools=[weather], logits_processors=[says])
    assert (done.content, done.reasoning) == ("I look.", "Hm.")
    assert done.text == f"<think>Hm.</think>I look.{CALL}"
    [call] = done.tool_calls
    assert (call.name, call.values) == ("weather", {"city": "Rome"})
    assert done.messages == (
        {
            "role": "assistant",
            "content": "I look.",
            "reasoning_content": "Hm.",
            "tool_calls": [call.message()],
        },
    )
    prompt = model.detokenize(says.prompts[0])
    assert '"description": "its name, in English"' in prompt
    json.dumps(done.to_dict())


def test_a_plain_chat_has_thoughts_and_no_calls(model):
    done = model.chat(ASK, logits_processors=[Says(model, f"<think>a</think>{CALL}")])
    assert (done.content, done.reasoning, done.tool_calls) == (CALL, "a", ())
    none = model.chat(
        ASK, tools=[weather], tool_choice="none", logits_processors=[Says(model, CALL)]
    )
    assert none.content == CALL
    assert model.generate("x", max_tokens=3).content


def test_functions_that_are_called_are_run(model):
    says = Says(model, f"I look.{CALL}{CALL}", "It is 21 degrees.")
    done = model.chat(ASK, tools=[weather], run_tools=True, logits_processors=[says])
    assert done.content == "It is 21 degrees."
    assert [m["role"] for m in done.messages] == ["assistant", "tool", "tool", "assistant"]
    assert json.loads(done.messages[1]["content"]) == {"city": "Rome", "warm": 21}
    assert 'tool {"city": "Rome", "warm": 21}' in model.detokenize(says.prompts[1])
    again = model.tokenize_chat([*ASK, *done.messages[:1], ASK[0]])
    assert again


def broken(city: str) -> str:
    raise ValueError(f"no {city}\x1b on the map")


@pytest.mark.parametrize(
    ("tool", "call", "result"),
    [
        (broken, '{"name": "broken", "arguments": {"city": "Rome"}}', "error: ValueError: no Rome"),
        (weather, '{"name": "weather", "arguments": {}}', "error: TypeError: missing a required"),
        (weather, '{"name": "weather", "arguments": {"city": 5}}', "city must be str, got 5"),
        (weather, '{"name": "weather", "arguments": {"city": "a", "b": 1}}', "unexpected keyword"),
        (weather, '{"name": "weather", "arguments": [1]}', "no JSON object"),
        (weather, '{"name": "weather", "arguments": {"city": }}', "no JSON object"),
    ],
)
def test_a_call_that_fails_is_told_to_the_model(model, tool, call, result):
    says = Says(model, f"<tool_call>{call}</tool_call>", "Sorry.")
    done = model.chat(ASK, tools=[tool], run_tools=True, logits_processors=[says])
    assert done.content == "Sorry."
    assert result in done.messages[1]["content"]


@pytest.mark.parametrize("choice", ["required", "now"])
def test_a_model_can_be_made_to_call(model, choice):
    pytest.importorskip("llguidance")

    def now() -> int:
        """The time."""
        return 7

    done = model.chat(
        ASK, tools=[now], tool_choice=choice, run_tools=True, max_rounds=2, max_tokens=60, seed=1
    )
    assert [m["role"] for m in done.messages[:2]] == ["assistant", "tool"]
    assert done.messages[1]["content"] == "7"
    assert done.messages[0]["tool_calls"][0]["function"]["name"] == "now"
    assert not done.tool_calls  # the choice held for the first answer alone


def test_rounds_are_bounded(model):
    says = Says(model, *[CALL] * 3)
    done = model.chat(ASK, tools=[weather], run_tools=True, max_rounds=3, logits_processors=[says])
    assert len(done.tool_calls) == 1
    assert [m["role"] for m in done.messages] == [*["assistant", "tool"] * 2, "assistant"]


def test_events_come_as_the_reply_does(model):
    says = Says(model, f"<think>Hm.</think>I look.{CALL}")
    stream = model.stream_chat(ASK, tools=[weather], logits_processors=[says])
    events = list(stream.events())
    assert [type(e) for e in events[:1]] == [Thought]
    assert "".join(e.text for e in events if isinstance(e, Text)) == "I look."
    begun = next(i for i, e in enumerate(events) if isinstance(e, CallBegun))
    pieces = [e.text for e in events[begun:] if isinstance(e, CallArguments)]
    assert len(pieces) > 2
    assert json.loads("".join(pieces)) == {"city": "Rome"}
    assert events[-1] == CallEnded(0)


def test_event_loops_have_all_of_it(model):
    ran_in = []

    async def later(city: str) -> str:
        """Coroutines run in the loop."""
        ran_in.append(threading.current_thread())
        await asyncio.sleep(0)
        return city

    def sooner(city: str) -> str:
        ran_in.append(threading.current_thread())
        return city

    async def main():
        for tool in (later, sooner):
            call = CALL.replace("weather", tool.__name__)
            says = Says(model, call, "Done.")
            done = await model.achat(ASK, tools=[tool], run_tools=True, logits_processors=[says])
            assert (done.content, done.messages[1]["content"]) == ("Done.", "Rome")
        says = Says(model, CALL)
        events = model.astream_events(ASK, tools=[weather], logits_processors=[says])
        assert CallEnded(0) in [event async for event in events]

    asyncio.run(main())
    assert ran_in[0] is threading.main_thread()
    assert ran_in[1] is not threading.main_thread()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tools": "weather"}, "tools must be a list"),
        ({"tools": [3]}, "a function or a dict, got 3"),
        ({"tools": [weather, weather]}, "the name of another, 'weather'"),
        ({"tools": [{"name": "a"}], "run_tools": True}, "'a' is only told"),
        ({"tools": [weather], "run_tools": 1}, "run_tools must be True or False"),
        ({"tools": [weather], "max_rounds": 0}, "max_rounds must be between 1"),
        ({"tools": [weather], "tool_choice": "storm"}, "tool_choice"),
        ({"tool_choice": "required"}, "there are no tools"),
        ({"tools": [weather], "tool_choice": "weather", "grammar": 'root ::= "a"'}, "grammar"),
    ],
)
def test_mistakes_are_told(model, arguments, message):
    with pytest.raises(qrt.InputError, match=message):
        model.chat(ASK, **arguments)


class Unit(enum.Enum):
    C = "celsius"
    F = "fahrenheit"


@dataclass
class Place:
    """A place."""

    name: str
    height: float = 0.0


class Window(TypedDict, total=False):
    """A time."""

    start: int


def everything(
    text: str,
    number: Annotated[int, "how many"],
    unit: Unit,
    place: Place,
    window: Window,
    kind: Literal["a", 2],
    names: list[str],
    by_name: dict[str, float],
    maybe: Optional[int] = None,  # noqa: UP045
    either: int | str = 3,
    free: Any = None,
    *,
    flag: bool = False,
) -> None:
    """Does it all,
    in two lines.

    More of it.

    Args:
        text (str): what it says
        place: where
            it is
    """


SCHEMA = {
    "type": "object",
    "properties": {
        "text": {"description": "what it says", "type": "string"},
        "number": {"description": "how many", "type": "integer"},
        "unit": {"enum": ["celsius", "fahrenheit"]},
        "place": {
            "description": "where it is",
            "type": "object",
            "properties": {"name": {"type": "string"}, "height": {"type": "number"}},
            "required": ["name"],
        },
        "window": {"type": "object", "properties": {"start": {"type": "integer"}}},
        "kind": {"enum": ["a", 2]},
        "names": {"type": "array", "items": {"type": "string"}},
        "by_name": {"type": "object", "additionalProperties": {"type": "number"}},
        "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "either": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        "free": {},
        "flag": {"type": "boolean"},
    },
    "required": ["text", "number", "unit", "place", "window", "kind", "names", "by_name"],
}


def test_a_signature_is_a_schema():
    tool = function_tool(everything)["function"]
    assert (tool["name"], tool["description"]) == ("everything", "Does it all, in two lines.")
    assert tool["parameters"] == SCHEMA


def test_arguments_get_the_types_that_were_asked_for():
    given = {
        "text": "a",
        "number": 2.0,
        "unit": "celsius",
        "place": {"name": "b", "height": 3},
        "window": {"start": 1},
        "kind": 2,
        "names": ["c"],
        "by_name": {"d": 1},
        "maybe": None,
        "either": "e",
    }
    values = bound(everything, given)
    assert values == {**given, "number": 2, "unit": Unit.C, "place": Place("b", 3.0)}
    assert type(values["by_name"]["d"]) is float


def test_classes_of_libraries_are_read_by_them():
    msgspec = pytest.importorskip("msgspec")
    pydantic = pytest.importorskip("pydantic")
    spot = msgspec.defstruct("Spot", [("x", int)])
    box = pydantic.create_model("Box", y=(int, ...))

    def put(spot, box):
        """Puts it."""

    put.__annotations__ = {"spot": spot, "box": box}
    properties = function_tool(put)["function"]["parameters"]["properties"]
    assert "x" in json.dumps(properties["spot"])
    assert properties["box"]["properties"]["y"]["type"] == "integer"
    assert bound(put, {"spot": {"x": 1}, "box": {"y": 2}}) == {"spot": spot(1), "box": box(y=2)}
    with pytest.raises(ValueError, match="y"):
        bound(put, {"spot": {"x": 1}, "box": {"y": "z"}})


def first(a, /):
    """Cannot be called by name."""


def calls_back(a: Callable[[], None]):
    """Cannot be called with JSON."""


@pytest.mark.parametrize("function", [first, calls_back])
def test_what_json_cannot_carry_is_refused(function):
    with pytest.raises(qrt.InputError, match=function.__name__):
        function_tool(function)
