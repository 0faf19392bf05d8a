"""`qrt run`: one answer, or a chat."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument

from qrt.cli.arguments import is_terminal, model_and_text, prompt_from
from qrt.cli.conversation import Conversation
from qrt.cli.flags import (
    EscapeFlag,
    FileFlag,
    LoadFlags,
    ModelArgument,
    ModelFlag,
    PromptFlag,
    PullFlag,
    TimingsFlag,
    in_prompt,
)
from qrt.cli.generate_flags import GenerateFlags
from qrt.cli.loading import has_chat_format, loaded, recommended_line
from qrt.cli.single import print_answer
from qrt.errors import InputError

if TYPE_CHECKING:
    from qrt.api import Model, Session, Stream

_ABOUT_EMBEDDED = (
    "This is the small model inside qrt: it knows Python's standard library and nothing else.\n"
    "A bigger one: `qrt pull qwen3:4b`, then `qrt run qwen3:4b`; or `qrt run FILE.gguf`."
)


def run(
    load: LoadFlags,
    generate: GenerateFlags,
    model: ModelArgument = None,
    words: Annotated[
        list[str] | None, Argument(metavar="PROMPT", help="What to answer; without it, a chat.")
    ] = None,
    model_flag: ModelFlag = None,
    prompt_flag: PromptFlag = None,
    file: FileFlag = None,
    escape: EscapeFlag = False,
    system: Annotated[
        str | None,
        in_prompt("-sys", "--system-prompt", metavar="TEXT", help="The system prompt."),
    ] = None,
    timings: TimingsFlag = None,
    yes: PullFlag = False,
) -> None:
    """Answer a prompt, or chat.

    What is piped in, or a file, follows the prompt; without any of them it is a chat. A lone
    argument is the MODEL if it looks like a file or is a model's name, else the PROMPT.
    """
    path, argument = model_and_text(model, words, model_flag, yes=yes)
    question = prompt_from(text=argument, flag=prompt_flag, file=file, escape=escape, joined=True)
    keywords = generate.keywords()
    if question is None:
        if not is_terminal(sys.stdout):
            raise InputError("there is no prompt, and no terminal to chat in; give PROMPT")
        with _loaded(path, load) as ready:
            _chat(ready, keywords, system, timings is not False, is_embedded=path is None)
        return
    with _loaded(path, load) as ready:
        conversation = Conversation(system)
        conversation.ask(question)
        stream = _start(ready, ready, conversation, keywords)
        print_answer(stream, timings, recommended_line(ready, keywords))


def _loaded(path: str | None, load: LoadFlags) -> Model:
    """The model; the process of its chat template starts meanwhile."""
    from qrt.text.chat_process import start_early

    start_early()
    return loaded(path, load)


def _start(
    model: Model, on: Model | Session, conversation: Conversation, keywords: dict[str, Any]
) -> Stream:
    """The answer to the last question; a model without a chat format continues its text."""
    if has_chat_format(model):
        return on.stream_chat(conversation.messages, **keywords)
    return on.stream(conversation.last_text, **keywords)


def _chat(
    model: Model,
    keywords: dict[str, Any],
    system: str | None,
    timings: bool,
    *,
    is_embedded: bool,
) -> None:
    from qrt.cli.chat import COMMANDS, Chat
    from qrt.cli.keyboard import Keyboard
    from qrt.cli.output import note

    with model.session() as session:

        def start(conversation: Conversation, n_others: int) -> Stream:
            seed = keywords.get("seed")
            seeded = keywords if seed is None else {**keywords, "seed": seed + n_others}
            return _start(model, session, conversation, seeded)

        info = model.info
        kind = "" if has_chat_format(model) else ", no chat format: it continues each text"
        note(sys.stdout, f"{info.name} ({info.arch}, context {info.n_ctx}{kind}); /help for help")
        if recommended := recommended_line(model, keywords):
            note(sys.stdout, f"sampling, as the model recommends: {recommended}")
        if is_embedded:
            note(sys.stdout, _ABOUT_EMBEDDED)
        chat = Chat(start, Keyboard(tuple(COMMANDS)), system=system, timings=timings)
        code = chat.run()
    if code:
        raise SystemExit(code)
