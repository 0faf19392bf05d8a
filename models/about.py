"""Metadata that both embedded models have: what they are, and whose text they learned from."""

from __future__ import annotations

import platform

FILE_TYPES = {"F32": 0, "F16": 1, "Q8_0": 7}
"""Values of `general.file_type` by the format of the matrices."""


def general_metadata(
    arch: str, name: str, about: str, size_label: str, qtype: str
) -> dict[str, object]:
    """Of a model that learned from the running Python's standard library."""
    return {
        "general.architecture": arch,
        "general.name": name,
        "general.description": f"{about}; trained on Python {platform.python_version()}.",
        "general.size_label": size_label,
        "general.file_type": FILE_TYPES[qtype],
        "general.quantization_version": 2,
        "general.languages": ["en"],
        "general.license": "PSF-2.0",
        "general.license.name": "Python Software Foundation License Version 2",
        "general.license.link": "https://docs.python.org/3/license.html",
        "general.source.url": "https://www.python.org",
        "general.source.repo_url": "https://github.com/python/cpython",
    }
