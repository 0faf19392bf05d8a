"""`qrt run`: one answer, or a chat."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

from typer import Argument

from qrt.cli.arguments import is_terminal, model_and_text, name_and_text, prompt_from, read_text
from qrt.cli.chat_flags import ChatFlags
from qrt.cli.flags import (
    AnswerFlags,
    ContinueFlag,
    EscapeFlag,
    FileFlag,
    ModelArgument,
    ModelFlag,
    PromptFlag,
    PullFlag,
    RemoteFlags,
    SessionFlag,
    in_chat,
)
from qrt.cli.generate_flags import GenerateFlags
from qrt.cli.loading import recommended_line
from qrt.cli.single import print_answer
from qrt.errors import InputError, ModelError

if TYPE_CHECKING:
    from qrt.cli.chat.conversation import Conversation
    from qrt.cli.chat.kept import Keeper
    from qrt.cli.chat.settings import Settings


def run(
    load: ChatFlags,
    generate: GenerateFlags,
    answer: AnswerFlags,
    remote: RemoteFlags,
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
        in_chat("-sys", "--system-prompt", metavar="TEXT", help="The system prompt."),
    ] = None,
    system_file: Annotated[
        str | None,
        in_chat("-sysf", "--system-prompt-file", metavar="FILE", help="The same, from a file."),
    ] = None,
    single_turn: Annotated[
        bool, in_chat("-st", "--single-turn", metavar=None, help="Leave after one answer.")
    ] = False,
    continued: ContinueFlag = False,
    session: SessionFlag = None,
    yes: PullFlag = False,
) -> None:
    """Answer a prompt, or chat.

    What is piped in, or a file, follows the prompt; without any of them it is a chat. A lone
    argument is the MODEL if it looks like a file or is a model's name, else the PROMPT.
    """
    from qrt.cli.chat.conversation import Conversation
    from qrt.cli.chat.settings import Settings
    from qrt.text.chat_process import start_early

    if remote.is_asked_for:
        path, argument = name_and_text(model, words, model_flag)
    else:
        path, argument = model_and_text(model, words, model_flag, yes=yes)
    question = prompt_from(text=argument, flag=prompt_flag, file=file, escape=escape, joined=True)
    is_seen = is_terminal(sys.stdin) and is_terminal(sys.stdout)
    if question is None and not is_seen:
        raise InputError("there is no prompt, and no terminal to chat in; give PROMPT")
    if question is None and single_turn:
        question = _typed()
    chats = question is None or (load.conversation is True and is_seen and not single_turn)
    system = _given_once(system, system_file)
    if remote.is_asked_for:
        from qrt.cli.asking import answered
        from qrt.cli.chat.served import chatted

        if session or continued:
            raise InputError("a chat with a server is not kept; leave --server out")
        asked = (remote, path, load, answer, system)
        if question is None or chats:
            raise SystemExit(chatted(*asked, question, generate.keywords()))
        answered(*asked, question, generate.keywords())
        return
    settings = Settings(generate.keywords())
    keeper = _keeper(session, continued) if session or continued or chats else None
    conversation = Conversation()
    if keeper is not None and keeper.kept is not None:
        conversation = keeper.kept.conversation
        path = path or _there(keeper.kept.model, keeper.name)
    conversation.system = system or conversation.system
    start_early()
    if chats:
        from qrt.cli.chat.start import run_chat

        assert keeper is not None
        code = run_chat(path, load, answer, settings, conversation, keeper, question)
        if code:
            raise SystemExit(code)
        return
    assert question is not None
    conversation.ask(question)
    _answer(path, load, answer, settings, conversation, keeper)


def _typed() -> str:
    """What a person types as the only prompt."""
    from qrt.cli.chat.keyboard import Keyboard

    try:
        return Keyboard(())("")
    except EOFError:
        raise InputError("there is no prompt") from None


def _given_once(system: str | None, file: str | None) -> str | None:
    """The system prompt, from a flag or a file."""
    if system is not None and file is not None:
        raise InputError("the system prompt is given twice; give -sys or -sysf")
    return system if file is None else read_text(file)


def _answer(
    path: str | None,
    load: ChatFlags,
    answer: AnswerFlags,
    settings: Settings,
    conversation: Conversation,
    keeper: Keeper | None,
) -> None:
    """Writes the answer to the last question, and keeps it with `keeper`, if there is one."""
    from qrt.cli.chat.eviction import fitted
    from qrt.cli.chat.respondent import Respondent

    respondent = Respondent(path, load, answer.think)
    try:
        if keeper is not None and keeper.is_kept:
            respondent.recall(keeper.state)
        n_ctx, given = respondent.n_ctx, settings.given
        prompt, _ = fitted(conversation, respondent.tokens, n_ctx, settings.max_tokens)
        recommended = recommended_line(respondent.model, given)
        stream = respondent.stream(prompt, given)
        reader = respondent.reader(prompt)
        conversation.answer(print_answer(stream, n_ctx, answer.shown, recommended, reader=reader))
        if keeper is not None:
            keeper.write(conversation, path)
            respondent.remember(keeper.state)
    finally:
        respondent.close()


def _keeper(session: str | None, continued: bool) -> Keeper:
    """What keeps this chat, and may have kept it before. Raises InputError."""
    from qrt.cli.chat.kept import Keeper, newest

    if session is not None and continued:
        raise InputError(
            "--continue goes on with the last chat, --session NAME with that; give one"
        )
    return Keeper(newest() if continued else session)


def _there(model: str | None, session: str) -> str | None:
    """The path of a kept chat's model."""
    if model is not None and not os.path.isfile(model):
        raise ModelError(f"{model}: no such file, with which session {session} was; name a MODEL")
    return model
