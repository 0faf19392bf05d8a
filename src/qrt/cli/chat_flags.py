"""The flags of conversations: how turns are written for a model, and whether they go on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

from qrt.cli.arguments import read_text, unescape
from qrt.cli.flags import AnswerLoadFlags, in_chat
from qrt.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFlags(AnswerLoadFlags):
    """How a model that answers is loaded, and how turns are written for it."""

    chat_template: Annotated[
        str | None,
        in_chat(
            "--chat-template",
            metavar="NAME",
            help="In place of the file's: chatml, gemma, llama2, llama3, phi3, rwkv-world, vicuna, "
            "zephyr, or a text in Jinja.",
        ),
    ] = None
    chat_template_file: Annotated[
        str | None,
        in_chat("--chat-template-file", metavar="FILE", help="The same, from a file."),
    ] = None
    in_prefix: Annotated[
        str | None,
        in_chat(
            "--in-prefix",
            metavar="TEXT",
            help=r"Before what a user says, in place of any template; \n is a new line.",
        ),
    ] = None
    in_suffix: Annotated[
        str | None, in_chat("--in-suffix", metavar="TEXT", help="The same, behind it.")
    ] = None
    template_kwargs: Annotated[
        str | None,
        in_chat(
            "--chat-template-kwargs",
            metavar="JSON",
            help='Variables for the template, as {"name": "value"}.',
        ),
    ] = None

    @property
    def template_vars(self) -> dict[str, Any]:
        """The variables for the chat template. Raises InputError."""
        try:
            given = json.loads(self.template_kwargs or "{}")
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            raise InputError(
                '--chat-template-kwargs: expected a JSON object, as {"name": "value"}; '
                f"got {self.template_kwargs!r}"
            )
        return given

    def keywords(self) -> dict[str, Any]:
        """The keywords for `qrt.load`. Raises InputError."""
        return AnswerLoadFlags.keywords(self) | {"chat_template": self.template}

    @property
    def template(self) -> str | None:
        """The name or the text of a chat template; None: the file's own. Raises InputError."""
        marks = (self.in_prefix, self.in_suffix)
        given = (self.chat_template, self.chat_template_file, None if marks == (None, None) else "")
        if sum(one is not None for one in given) > 1:
            raise InputError(
                "the template is given twice; give --chat-template, --chat-template-file, or "
                "--in-prefix and --in-suffix"
            )
        if self.chat_template_file is not None:
            return read_text(self.chat_template_file)
        if marks == (None, None):
            return self.chat_template
        before, behind = (json.dumps(unescape(m or ""), ensure_ascii=False) for m in marks)
        asked = f"{before} + message.content + {behind}"
        return (
            "{%- for message in messages -%}{{- "
            f"{asked} if message.role == 'user' else message.content"
            " -}}{%- endfor -%}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatFlags(TemplateFlags):
    """The same, and whether it goes on.

    conversation: None: in one, where the model has a chat format, which ends with an answer to a
    PROMPT.
    """

    conversation: Annotated[
        bool | None,
        in_chat(
            *("-cnv/-no-cnv", "--conversation/--no-conversation"),
            metavar=None,
            help="Chat on after the answer to PROMPT, or continue it as a text without a chat "
            "template.",
        ),
    ] = None
