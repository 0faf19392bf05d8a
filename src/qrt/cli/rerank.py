"""`qrt rerank`: texts by how well they answer a query."""

from __future__ import annotations

import json
from typing import Annotated

from qrt.cli.arguments import only_model, texts_from
from qrt.cli.embed import LinesFlag, TruncateFlag, WordsArgument, named_model
from qrt.cli.flags import LoadFlags, ModelFlag, PullFlag, in_model, in_output
from qrt.errors import InputError


def rerank(
    load: LoadFlags,
    words: WordsArgument = None,
    model_flag: ModelFlag = None,
    file: LinesFlag = None,
    truncate: TruncateFlag = False,
    embedding: Annotated[
        bool,
        in_model(
            "--embedding", metavar=None, help="Rank by the cosine, with a language model too."
        ),
    ] = False,
    top: Annotated[int | None, in_output("--top", help="Only so many of the best.")] = None,
    jsonl: Annotated[
        bool, in_output("--jsonl", metavar=None, help="Print JSON objects: index, score, text.")
    ] = False,
    yes: PullFlag = False,
) -> None:
    """Rank texts by how well they answer a query.

    A line for each text, the best first: its score and the text. The model is a reranker, or one
    of embeddings, whose scores are cosines. Texts are arguments behind MODEL and QUERY, or the
    lines of -f FILE or of what is piped in.
    """
    name, given = named_model(words, model_flag)
    if not given:
        raise InputError("there is no query; give it behind the model")
    query, *texts = given
    if top is not None and top < 1:
        raise InputError(f"--top must be at least 1, got {top}")
    path = only_model(name, None, yes=yes)
    texts = texts_from(texts, file)
    from qrt.api import load as load_model
    from qrt.cli.progress import shown_progress

    with shown_progress() as progress:
        model = load_model(path, **load.keywords(), embedding=embedding or None, progress=progress)
    with model:
        for index, score in model.rerank(query, texts, truncate=truncate)[:top]:
            if jsonl:
                found = {"index": index, "score": score, "text": texts[index]}
                print(json.dumps(found, ensure_ascii=False))
            else:
                print(f"{score:.4f}\t{texts[index]}")
