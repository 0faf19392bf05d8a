"""`qrt tokenize`: what a text is made of."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from qrt.cli.arguments import model_and_text, model_file, prompt_from
from qrt.cli.flags import EscapeFlag, FileFlag, ModelArgument, ModelFlag, PromptFlag
from qrt.errors import InputError


def tokenize(
    model: ModelArgument = None,
    words: Annotated[
        list[str] | None, Argument(metavar="TEXT", help="The text; or piped in.")
    ] = None,
    model_flag: ModelFlag = None,
    prompt_flag: PromptFlag = None,
    file: FileFlag = None,
    escape: EscapeFlag = False,
    ids: Annotated[bool, Option("--ids", help="Print only the list of ids.")] = False,
    no_special: Annotated[
        bool, Option("--no-special", "--no-bos", help="Without the BOS and EOS that are added.")
    ] = False,
    parse_special: Annotated[
        bool, Option("--parse-special", help="Let special tokens in TEXT become themselves.")
    ] = False,
) -> None:
    """Print the tokens of a text.

    Each on a line of its own: the id and the text it stands for.
    """
    path, argument = model_and_text(model, words, model_flag)
    content = prompt_from(text=argument, flag=prompt_flag, file=file, escape=escape)
    if content is None:
        raise InputError("there is no text; give TEXT, -p TEXT or -f FILE, or pipe it in")
    from qrt.api import load_tokenizer

    tokenizer = load_tokenizer(model_file(path))
    tokens = tokenizer.tokenize(content, add_special=not no_special, parse_special=parse_special)
    if ids:
        print(tokens)
        return
    for token in tokens:
        print(f"{token:6d} -> {_shown(tokenizer.token_bytes(token))}")


def _shown(piece: bytes) -> str:
    """A piece in quotes; as bytes if it is only a part of a character."""
    try:
        return repr(piece.decode())
    except UnicodeDecodeError:
        return repr(piece)
