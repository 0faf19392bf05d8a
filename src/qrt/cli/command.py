"""A command of `qrt`: how its line is read, its mistakes told, and its help laid out."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from typer import BadParameter
from typer.core import TyperCommand, TyperGroup

from qrt.cli.guard import guarded
from qrt.cli.reading import read
from qrt.errors import InputError

PANELS = (
    "Arguments",
    *("Model", "Server", "Prompt", "Chat", "Context", "Output"),
    *("Speed", "Sampling", "Options"),
)
"""The sections of a help text, in order; what names no other is under the last."""

_LAST = 100
"""More than the characters of any flag that is short."""

_UsageError: type[Any] = BadParameter.__mro__[1]
"""Any mistake in a command line; typer exports this one kind of it alone."""


class Command(TyperCommand):
    """One command, whose flags are read whole and whose mistakes are one line each."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the command line; leaves with exit code 2 where it is wrong.

        One that is still being typed, which a shell asks to complete, is read as far as it goes.
        """
        if not ctx.resilient_parsing:
            return guarded(self._parsed)(ctx, args)
        with suppress(InputError):
            args = self._read(ctx, args)
        return super().parse_args(ctx, args)

    def _parsed(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, self._read(ctx, args))
        except _UsageError as error:
            raise InputError(_line(error)) from None

    def _read(self, ctx: Any, args: list[str]) -> list[str]:
        flags: dict[str, int] = {}
        for param in self.get_params(ctx):
            if param.param_type_name == "option":
                n_values = 0 if getattr(param, "is_flag", False) else param.nargs
                flags.update(dict.fromkeys((*param.opts, *param.secondary_opts), n_values))
        return read(args, ctx.info_name or "", flags)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Flags under the name of what they are about."""
        panels: dict[str, list[tuple[str, str]]] = {panel: [] for panel in PANELS}
        for param in sorted(self.get_params(ctx), key=_rank):
            record = param.get_help_record(ctx)
            if record is not None:
                is_argument = param.param_type_name == "argument"
                panel = getattr(param, "rich_help_panel", None) or PANELS[-1]
                panels[PANELS[0] if is_argument else panel].append(record)
        for panel, records in panels.items():
            if records:
                with formatter.section(panel):
                    formatter.write_dl(records)

    def format_epilog(self, _: Any, formatter: Any) -> None:
        """Examples, a line each as it would be typed."""
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.splitlines():
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class Group(TyperGroup):
    """`qrt` itself, whose mistakes are one line each too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads what stands before a command; leaves with exit code 2 where it is wrong."""
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        return guarded(self._parsed)(ctx, args)

    def _parsed(self, ctx: Any, args: list[str]) -> list[str]:
        first = args[:1]
        try:
            return super().parse_args(ctx, args)
        except _UsageError as error:
            raise InputError(
                f"{_line(error)}; flags stand behind a command, as in qrt run {first[0]}"
            ) from None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is named; leaves with exit code 2 if there is none."""
        if ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        return guarded(self._resolved)(ctx, args)

    def _resolved(self, ctx: Any, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except _UsageError as error:
            from qrt.cli.arguments import looks_like_model

            if looks_like_model(args[0]):
                raise InputError(
                    f"{args[0]}: is a model, not a command; qrt run {args[0]}"
                ) from None
            said = _line(error)
            end = " " if said.endswith("?") else "; "
            raise InputError(f"{said}{end}`qrt --help` lists the commands") from None


def _rank(param: Any) -> int:
    """The place of a flag in its section: short ones first, `--help` last."""
    if param.name == "help":
        return _LAST + 1
    is_short = param.param_type_name == "option" and not param.opts[0].startswith("--")
    return len(param.opts[0]) if is_short else _LAST


def _line(error: Any) -> str:
    """What a mistake says, as the start of a sentence that goes on."""
    return str(error.format_message()).rstrip(".").replace("?.", "?")
