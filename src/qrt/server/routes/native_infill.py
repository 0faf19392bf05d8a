"""The prompt of a model that fills in the middle, from its vocabulary's own marks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qrt.server.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qrt.server.routes.native_bodies import Extra
    from qrt.text import Tokenizer

_NEEDED = {"fim_pre": "prefix", "fim_suf": "suffix", "fim_mid": "middle"}
_REPOSITORY = "myproject\n"
_SNIPPET = "\n\n--- snippet ---\n\n"
_FILE = "filename\n"
"""Names that models were trained to see, where nobody gives one."""


def infill_tokens(
    tokenizer: Tokenizer,
    prefix: str,
    suffix: str,
    *,
    extra: Sequence[Extra] = (),
    room: int,
) -> list[int]:
    """The tokens of a prompt for what stands between `prefix` and `suffix`.

    At most `room` tokens: pieces of other files go first, the oldest of them before the others,
    then the ends of prefix and suffix that are far from the gap, three to one. None of the texts
    can hold a mark. Raises RefusedError for a vocabulary without the marks.
    """
    marks = tokenizer.fim_ids
    missing = [name for role, name in _NEEDED.items() if role not in marks]
    if missing:
        raise RefusedError(
            501, f"this model fills in no middle: its vocabulary has no token for {missing[0]}"
        )

    def tokens(text: str) -> list[int]:
        return tokenizer.tokenize(text, add_special=False)

    start = [tokenizer.bos_id] if tokenizer.add_bos and tokenizer.bos_id is not None else []
    room = max(room - len(start) - len(_NEEDED), 0)
    before, behind = tokens(prefix), tokens(suffix)
    n_behind = min(len(behind), max(room // 4, room - len(before)))
    before = before[max(len(before) - (room - n_behind), 0) :]
    behind = behind[:n_behind]
    others = _others(tokenizer, extra) if extra else []
    room = max(room - len(before) - len(behind), 0)
    others = others[max(len(others) - room, 0) :]
    return [
        *start,
        *others,
        *(marks["fim_pre"], *before),
        *(marks["fim_suf"], *behind),
        marks["fim_mid"],
    ]


def _others(tokenizer: Tokenizer, extra: Sequence[Extra]) -> list[int]:
    """Pieces of other files, marked as of one repository where the vocabulary can."""
    marks = tokenizer.fim_ids

    def tokens(text: str) -> list[int]:
        return tokenizer.tokenize(text, add_special=False)

    ids: list[int] = []
    if "fim_rep" in marks:
        ids += [marks["fim_rep"], *tokens(_REPOSITORY)]
    for piece in extra:
        if "fim_sep" in marks:
            ids += [marks["fim_sep"], *tokens(piece.filename + "\n")]
        else:
            ids += tokens(_SNIPPET)
        ids += tokens(piece.text)
    if "fim_sep" in marks:
        ids += [marks["fim_sep"], *tokens(_FILE)]
    return ids
