"""The commands by name. Each is imported and built when it is asked for, what it needs later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Annotated, Any

import typer

from qrt import __version__
from qrt.cli.command import Command, Group
from qrt.cli.flags import takes_flags
from qrt.cli.guard import guarded
from qrt.cli.help import EXAMPLES, FIRST_STEPS
from qrt.cli.interrupts import interruptible

COMMANDS = {
    **{name: f"{name}.{name}" for name in ("run", "complete", "embed", "rerank")},
    **{name: f"{name}.{name}" for name in ("info", "pull", "search")},
    "list": "models.list_",
    "show": "models.show",
    "rm": "models.rm",
    "tokenize": "tokens.tokenize",
    **{name: f"{name}.{name}" for name in ("bench", "profile", "perplexity", "kl", "tune", "pack")},
    "serve": "serve.serve",
    "app": "page.app",
    "ps": "servers.ps",
    "stop": "servers.stop",
    "doctor": "doctor.doctor",
}
"""Where the function of each stands."""


def _built(name: str) -> Any:
    """The command of that name."""
    module, function = COMMANDS[name].split(".")
    command = getattr(import_module(f"qrt.cli.{module}"), function)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name, cls=Command, epilog=EXAMPLES[name])(
        guarded(interruptible(takes_flags(command)))
    )
    return typer.main.get_command(alone)


class _Commands(MutableMapping[str, Any]):
    """All names; what one of them stands for is built when it is asked for."""

    def __init__(self, built: Mapping[str, Any]) -> None:
        self._built = {**dict.fromkeys(COMMANDS), **built}

    def __getitem__(self, name: str) -> Any:
        if self._built[name] is None:
            self._built[name] = _built(name)
        return self._built[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._built[name] = command

    def __delitem__(self, name: str) -> None:
        del self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._built)

    def __len__(self) -> int:
        return len(self._built)


class _Qrt(Group):
    """The group of all commands."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands(self.commands)


app = typer.Typer(
    name="qrt",
    cls=_Qrt,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print("qrt", __version__)
        raise typer.Exit


@app.command("help", hidden=True, cls=Command)
def _help(
    context: typer.Context,
    command: Annotated[str | None, typer.Argument(metavar="COMMAND")] = None,
) -> None:
    """Say how to begin, or show the help of COMMAND."""
    if command is None:
        print(FIRST_STEPS, end="")
        return
    group: Any = context.parent
    _, found, _ = group.command.resolve_command(group, [command])
    with found.make_context(command, [], parent=group, resilient_parsing=True) as shown:
        print(shown.get_help())


@app.callback(invoke_without_command=True)
def qrt(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Quantized language models at the speed of memory: a GGUF file in, text out."""
    if context.invoked_subcommand is None and not version:
        print(FIRST_STEPS, end="")
