"""What leaves a context that has become too small: whole turns, the oldest first.

What stays is given to the model anew, as a fresh chat would: of its keys and values only those of
the system prompt do not depend on what left, and those are what the session still has. So that
this is rare, more leaves at once than has to.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from qrt.cli.chat.conversation import Conversation, Message
from qrt.errors import ContextFullError

Tokenize = Callable[[list[Message]], list[int]]
"""The tokens of a prompt for these messages."""


def answer_room(n_ctx: int, max_tokens: int | None) -> int:
    """Tokens that are kept free for an answer."""
    return n_ctx // 4 if max_tokens is None else min(max_tokens, n_ctx // 2)


def fitted(
    conversation: Conversation, tokenize: Tokenize, n_ctx: int, max_tokens: int | None
) -> tuple[list[int], int]:
    """The prompt of a conversation, and how many of the oldest questions, with their answers, have
    left it to make room. Raises ContextFullError where the last question alone is too long.
    """
    n_answer = answer_room(n_ctx, max_tokens)
    prompt = tokenize(conversation.messages)
    if len(prompt) + n_answer <= n_ctx:
        return prompt, 0
    n_others = conversation.n_questions - 1
    goal = 3 * n_ctx // 4 - n_answer

    def is_short(n_questions: int) -> bool:
        return len(tokenize(conversation.without(n_questions))) <= goal

    n_gone = min(1 + bisect_left(range(1, n_others + 1), True, key=is_short), n_others)
    if n_gone:
        prompt = tokenize(conversation.without(n_gone))
    if len(prompt) >= n_ctx:
        raise ContextFullError(
            f"the prompt has {len(prompt)} tokens, the context holds {n_ctx} and needs room for "
            "at least one more; shorten it, or take a larger context (-c N; in a chat, "
            "/set context N)"
        )
    conversation.let_go(n_gone)
    return prompt, n_gone
