"""Search by meaning, then an answer: one model finds the name, the other one tells of it.

Run it with python examples/search.py ["QUESTION" ...].
"""

import importlib
import inspect
import sys
from collections.abc import Iterator

import numpy as np

import qrt

MODULES = ("glob", "math", "os", "os.path", "random", "re", "shutil", "statistics", "textwrap")
QUESTIONS = (
    "How do I delete a folder with everything in it?",
    "Which value is in the middle of my data?",
)


def documented() -> Iterator[tuple[str, str]]:
    """The names of what the modules offer, each with the beginning of its documentation."""
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in getattr(module, "__all__", dir(module)):
            value = getattr(module, name)
            doc = inspect.getdoc(value) if callable(value) else None
            if doc and not name.startswith("_"):
                yield f"{module_name}.{name}", " ".join(doc.split())[:300]


passages = dict(documented())
names = list(passages)
with qrt.load("embed") as finder, qrt.load() as model:
    stored = finder.embed([f"{name}: {doc}" for name, doc in passages.items()])
    for question in sys.argv[1:] or QUESTIONS:
        scores = stored @ finder.embed(question)
        found = [names[i] for i in np.argsort(-scores)[:3]]
        print(f"> {question}\nfound {', '.join(found)}")
        messages = [{"role": "user", "content": f"What does {found[0]} do?"}]
        print(f"{model.chat(messages, max_tokens=100, temperature=0)}\n")
