"""Commands that show something of a chat and change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qrt.cli.loading import recommended_line
from qrt.cli.output import option_rows
from qrt.cli.tables import print_table

if TYPE_CHECKING:
    from qrt.cli.chat.loop import Chat


def show(chat: Chat, rest: str) -> None:  # noqa: ARG001
    """Model, options and system prompt."""
    info, conversation = chat.respondent.model.info, chat.conversation
    rows = [
        ("model", f"{info.name} ({info.arch}), {info.path}"),
        ("context", f"{info.n_ctx} tokens; the model was trained for {info.n_ctx_train}"),
        ("system prompt", conversation.system or "(none)"),
        *_option_rows(chat),
    ]
    print_table("This chat", rows)


def options(chat: Chat) -> None:
    """The options of answers."""
    print_table("Options of answers", _option_rows(chat))


def tokens(chat: Chat, rest: str) -> None:  # noqa: ARG001
    """What fills the context: parts of the prompt as it would be now, without the next question."""
    respondent, messages = chat.respondent, chat.conversation.messages
    parts = dict.fromkeys(_PARTS, 0)
    for message in messages:
        parts[message["role"]] += respondent.count(message["content"])
    n_texts = sum(parts.values())
    n_all = len(respondent.tokens(messages)) if chat.conversation.n_questions else n_texts
    attached = sum(respondent.count(text) for text in chat.attached)
    rows = [(_PARTS[role], n) for role, n in parts.items()]
    rows += [("format of the chat", n_all - n_texts)]
    rows += [("files for the next question", attached)] if attached else []
    rows += [("free", respondent.n_ctx - n_all - attached)]
    gone = chat.conversation.n_gone
    left = f"; {gone} turns have left it" if gone else ""
    title = f"Context of {respondent.n_ctx} tokens{left}"
    print_table(title, [(what, str(n)) for what, n in rows], right=(1,))


_PARTS = {"system": "system prompt", "user": "questions", "assistant": "answers"}


def _option_rows(chat: Chat) -> list[tuple[str, str]]:
    rows = option_rows(chat.settings.given)
    recommended = recommended_line(chat.respondent.model, chat.settings.given)
    return [*rows, ("as the model recommends", recommended)] if recommended else rows
