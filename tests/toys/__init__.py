"""Ops and models that qrt does not have, to show that its seams hold: see `models`.

What a toy op means stands in `reference`, a file of the op's name, beside the backend's own.
"""

from __future__ import annotations

from pathlib import Path

from qrt.backends.reference import ops

_HERE = str(Path(__file__).parent / "reference")
if _HERE not in ops.__path__:
    ops.__path__.append(_HERE)
