"""Files of vectors: what `qrt embed -o` writes, by the end of their name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qrt.errors import BackendError, InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Record:
    """A text that is to be embedded, and what else stood in its line."""

    text: str
    fields: Mapping[str, Any]


def records_of(lines: list[str], *, is_json: bool) -> list[Record]:
    """Lines as texts; with `is_json` those that are JSON objects have it under "text".

    Raises InputError that names the line.
    """
    return [_record(line, number, is_json) for number, line in enumerate(lines, 1)]


def _record(line: str, number: int, is_json: bool) -> Record:
    if not is_json or not line.lstrip().startswith("{"):
        return Record(line, {"text": line})
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise InputError(f"line {number}: is not a JSON object") from None
    if not isinstance(fields.get("text"), str):
        raise InputError(f'line {number}: expected a JSON object with a string "text"')
    return Record(fields["text"], fields)


def json_line(record: Record, vector: NDArray[np.float32]) -> str:
    """A text with its vector, as a line of JSON."""
    return json.dumps({**record.fields, "embedding": vector.tolist()}, ensure_ascii=False)


def plain_line(_: Record, vector: NDArray[np.float32]) -> str:
    """A vector as numbers with spaces between."""
    return " ".join(map(str, vector.tolist()))


def _write_npy(path: Path, _: list[Record], vectors: NDArray[np.float32]) -> None:
    import numpy as np

    with path.open("wb") as file:
        np.save(file, vectors)


def _write_jsonl(path: Path, records: list[Record], vectors: NDArray[np.float32]) -> None:
    _write_lines(path, map(json_line, records, vectors))


def _write_txt(path: Path, records: list[Record], vectors: NDArray[np.float32]) -> None:
    _write_lines(path, map(plain_line, records, vectors))


def _write_lines(path: Path, lines: Iterator[str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def _write_parquet(path: Path, records: list[Record], vectors: NDArray[np.float32]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    texts = pa.array([record.text for record in records])
    parquet.write_table(pa.table({"text": texts, "embedding": column}), path)


Write = Callable[[Path, list[Record], "NDArray[np.float32]"], None]
WRITERS: Final[Mapping[str, Write]] = {
    ".npy": _write_npy,
    ".jsonl": _write_jsonl,
    ".txt": _write_txt,
    ".parquet": _write_parquet,
}
"""By the end of a file's name."""


def writer_of(path: Path) -> Write:
    """What writes a file of that name. Raises InputError, BackendError."""
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        raise InputError(f"-o {path}: the name must end in {', '.join(WRITERS)}")
    if write is _write_parquet and find_spec("pyarrow") is None:
        raise BackendError("a .parquet file needs pyarrow; pip install 'qrt[parquet]'")
    return write
