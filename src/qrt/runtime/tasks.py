"""What texts are embedded for: what a model wants before them, and which adapter it uses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import Final

from qrt.runtime.lora import Adapter

PROMPTS_KEY: Final = "sentence_transformers.prompts."
"""Keys of the metadata that begin so name a task, their values are what stands before its texts."""

Prompts = Mapping[str, str]

_NOMIC: Final[Prompts] = {
    "query": "search_query: ",
    "document": "search_document: ",
    "classification": "classification: ",
    "clustering": "clustering: ",
}
_BY_ARCH: Final[Mapping[str, Prompts]] = {
    "gemma-embedding": {
        "query": "task: search result | query: ",
        "document": "title: none | text: ",
        "question answering": "task: question answering | query: ",
        "fact checking": "task: fact checking | query: ",
        "classification": "task: classification | query: ",
        "clustering": "task: clustering | query: ",
        "similarity": "task: sentence similarity | query: ",
        "code retrieval": "task: code retrieval | query: ",
    },
    "nomic-bert": _NOMIC,
    "nomic-bert-moe": _NOMIC,
}
_WEB_SEARCH: Final = "Given a web search query, retrieve relevant passages that answer the query"
_REPRESENT: Final = "Represent this sentence for searching relevant passages: "
_BY_NAME: Final[Mapping[str, Prompts]] = {
    r"\be5-(small|base|large)\b(?!.*instruct)": {"query": "query: ", "document": "passage: "},
    r"\bbge-(small|base|large)-en\b": {"query": _REPRESENT, "document": ""},
    r"\bmxbai-embed-": {"query": _REPRESENT, "document": ""},
    r"\bsnowflake-arctic-embed-.*-v2\b": {"query": "query: ", "document": ""},
    r"\bqwen3-embedding\b": {"query": f"Instruct: {_WEB_SEARCH}\nQuery:", "document": ""},
}
"""Of models whose architecture does not tell them apart, by a pattern of their names, in which - is
all that is no letter or digit."""

SEARCH: Final = (
    ("query", "document"),
    ("query", "passage"),
    ("retrieval.query", "retrieval.passage"),
)
"""Names of the tasks of a query and of what it searches."""


@dataclass(frozen=True, slots=True)
class Task:
    """What texts are embedded for. adapter: the number of the one that was trained for it."""

    prompt: str
    adapter: int | None = None


def tasks_of(
    metadata: Mapping[str, object], arch: str, adapters: Iterable[Adapter] = ()
) -> dict[str, Task]:
    """The tasks of a model by their names: those that its file and its adapters state; where the
    file states none, what models of its kind were trained with.
    """
    own = {
        key.removeprefix(PROMPTS_KEY): value
        for key, value in metadata.items()
        if key.startswith(PROMPTS_KEY) and isinstance(value, str)
    }
    found = {name: Task(prompt) for name, prompt in (own or _known(metadata, arch)).items()}
    for number, adapter in enumerate(adapters):
        if adapter.task_name:
            found[adapter.task_name] = Task(adapter.prompt_prefix, number)
    return found


def search_tasks(tasks: Mapping[str, Task]) -> tuple[str, str] | tuple[None, None]:
    """The tasks of a query and of what it searches; None for models that know no difference."""
    return next((pair for pair in SEARCH if tasks.keys() >= set(pair)), (None, None))


def scales_for(
    task: Task, tasks: Mapping[str, Task], scales: Items[float]
) -> tuple[float, ...] | None:
    """How much of each adapter texts of a task use that has its own: all of that, nothing of those
    of other tasks, of the rest as `scales` says. None: of all as the model says.
    """
    if task.adapter is None:
        return None
    others = {other.adapter for other in tasks.values()}
    return tuple(
        float(number == task.adapter) if number in others else scale
        for number, scale in enumerate(scales)
    )


def _known(metadata: Mapping[str, object], arch: str) -> Prompts:
    if arch in _BY_ARCH:
        return _BY_ARCH[arch]
    name = metadata.get("general.name")
    plain = re.sub("[^a-z0-9]+", "-", name[:256].lower()) if isinstance(name, str) else ""
    matches = (prompts for pattern, prompts in _BY_NAME.items() if re.search(pattern, plain))
    return next(matches, {})
