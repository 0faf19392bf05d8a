"""What a chat template may use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of one conversation's render, in all the forms that are tried, and compilation."""

    source_bytes: int = 128 * 1024
    output_chars: int = 4 * 1024 * 1024
    seconds: float = 2.0
    grace_seconds: float = 0.25  # from the render's own stop to the end of its process
    process_bytes: int = 512 * 1024 * 1024  # address space of the process
    memory_bytes: int = 512 * 1024 * 1024  # sum of all values made in one render
    value_weight: int = 4 * 1024 * 1024  # characters of one value, an item counting as 16
