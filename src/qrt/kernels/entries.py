"""An entry of object code: a line with a checksum, a line with the symbol's name, the code."""

from __future__ import annotations

import hashlib
from pathlib import Path

from qrt.formats.quants.grids import grids_file


def source_digest() -> bytes:
    """A digest of the source of this package, and of the grids that stand in its kernels."""
    digest = hashlib.sha256(grids_file().read_bytes())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.digest()


def packed(symbol: str, code: bytes) -> bytes:
    """The entry of `symbol`, which is ASCII, and its code."""
    rest = symbol.encode() + b"\n" + code
    return hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest


def unpacked(entry: bytes) -> tuple[str, bytes] | None:
    """(symbol, code) of an entry; None where it is damaged."""
    checksum, _, rest = entry.partition(b"\n")
    symbol, _, code = rest.partition(b"\n")
    if hashlib.sha256(rest).hexdigest().encode() != checksum or not symbol.isascii():
        return None
    return symbol.decode(), code
