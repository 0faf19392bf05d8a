"""The interactive chat: questions, answers, commands; no error and no interrupt loses its turns."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from qrt.cli import INTERRUPTED
from qrt.cli.conversation import Conversation
from qrt.cli.guard import print_error
from qrt.cli.keyboard import Read
from qrt.cli.output import AnswerWriter, note
from qrt.cli.timings import timings_line
from qrt.errors import ContextFullError, InputError, QrtError

if TYPE_CHECKING:
    from qrt.api import Stream

Start = Callable[[Conversation, int], "Stream"]
"""start(conversation, n): a stream that answers its last question, as it did n times before."""


class _Command(NamedTuple):
    usage: str
    help: str
    run: Callable[[Chat, str], None]


class Chat:
    """A chat over `start`, with input from `read`; `run` returns the exit code."""

    def __init__(
        self, start: Start, read: Read, *, system: str | None = None, timings: bool = True
    ) -> None:
        self.conversation = Conversation(system)
        self._start = start
        self._read = read
        self._timings = timings
        self._typed = ""
        """What the next input starts from: a question that got no answer."""
        self._n_others = 0
        self._interrupted = False
        self._is_over = False

    def run(self) -> int:
        """Until /exit, the end of input (0), or Ctrl-C twice (130)."""
        while not self._is_over:
            try:
                typed, self._typed = self._typed, ""
                text = self._read(typed)
                if text:
                    self._interrupted = False
                    self._handle(text)
            except EOFError:
                break
            except KeyboardInterrupt:
                if self._interrupted:
                    return INTERRUPTED
                self._interrupted = True
                note(sys.stdout, "Ctrl-C again to leave")
            except QrtError as error:
                print_error(str(error))
        return 0

    def _handle(self, text: str) -> None:
        name, _, rest = text.partition(" ")
        if name.startswith("/") and name[1:].isalpha():
            if name not in COMMANDS:
                raise InputError(f"unknown command {name}; /help lists them")
            COMMANDS[name].run(self, rest.strip())
            return
        self._n_others = 0
        if not self._answer(text):
            self._typed = text

    def _answer(self, question: str) -> bool:
        """Streams the answer to `question` and keeps both; False, keeping none, if there is none.

        What came before Ctrl-C or an error is an answer too.
        """
        self.conversation.ask(question)
        parts: list[str] = []
        try:
            self._stream(parts)
        except KeyboardInterrupt:
            self._interrupted = True
            note(sys.stdout, "(stopped)")
        except ContextFullError as error:
            print_error(f"{error}; /clear forgets the conversation")
        except QrtError as error:
            print_error(str(error))
        answer = "".join(parts)
        if answer.strip():
            self.conversation.answer(answer)
            return True
        self.conversation.take_back()
        return False

    def _stream(self, parts: list[str]) -> None:
        writer = AnswerWriter(sys.stdout)
        finish = None
        try:
            with self._start(self.conversation, self._n_others) as stream:
                for record in stream:
                    parts.append(record.text)
                    writer.write(record.text)
                    finish = record.finish_reason
                timings = stream.timings
        finally:
            writer.end()
        if finish == "length":
            note(sys.stdout, "(cut short: the limit of -n, or of the context, is reached)")
        elif not "".join(parts).strip():
            note(sys.stdout, "(the model has nothing to say to this)")
        if self._timings:
            note(sys.stderr, timings_line(timings))

    def _help(self, _: str) -> None:
        width = max(len(command.usage) for command in COMMANDS.values())
        for command in COMMANDS.values():
            print(f"{command.usage:{width}}  {command.help}")
        print('Several lines: end a line with \\ or Alt-Enter, or put """ around them.')
        print("Ctrl-C stops the answer, a second one leaves; Ctrl-D leaves.")

    def _clear(self, _: str) -> None:
        self.conversation.clear()
        note(sys.stdout, "the conversation is forgotten")

    def _system(self, text: str) -> None:
        if text:
            self.conversation.system = text
        note(sys.stdout, f"system prompt: {self.conversation.system or '(none)'}")

    def _regen(self, _: str) -> None:
        before = self.conversation.copy()
        question = self.conversation.take_back()
        if question is None:
            raise InputError("there is no question yet to answer again")
        self._n_others += 1
        if not self._answer(question):
            self.conversation = before

    def _save(self, text: str) -> None:
        if not text:
            raise InputError("usage: /save FILE")
        path = Path(text).expanduser()
        self.conversation.save(path)
        note(sys.stdout, f"saved to {path}")

    def _exit(self, _: str) -> None:
        self._is_over = True


COMMANDS: dict[str, _Command] = {
    command.usage.split()[0]: command
    for command in (
        _Command("/help", "this list", Chat._help),
        _Command("/clear", "forget the conversation; the system prompt stays", Chat._clear),
        _Command("/system TEXT", "set the system prompt; without TEXT, show it", Chat._system),
        _Command("/regen", "another answer to the last question", Chat._regen),
        _Command("/save FILE", "write the conversation: .json, or Markdown", Chat._save),
        _Command("/exit", "leave", Chat._exit),
    )
}
