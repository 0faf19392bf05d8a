"""The flags of a model that serves: how it is loaded, and how it shares its time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from qrt.cli.chat_flags import TemplateFlags
from qrt.cli.flags import in_server
from qrt.errors import InputError

_MOST_MIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingFlags(TemplateFlags):
    """How a model that serves is loaded, with the names of `qrt.load`."""

    max_running: Annotated[
        int, in_server("-np", "--parallel", help="Answers computed together. Default 64.")
    ] = 64
    max_waiting: Annotated[
        int, in_server("--queue", help="Answers that may wait for that. Default 256.")
    ] = 256
    latency: Annotated[
        str,
        in_server(
            "--latency",
            metavar="HOW",
            help="low: answers under way hardly wait for new prompts; throughput: the most tokens "
            "a second. Default balanced.",
        ),
    ] = "balanced"
    cache_mib: Annotated[
        int | None,
        in_server(
            "-cram",
            "--cache-ram",
            metavar="MIB",
            help="Keys and values of other answers and earlier prompts, beside one whole context. "
            "Default: at most a quarter of what is free.",
        ),
    ] = None
    prefix_dir: Annotated[
        str | None,
        in_server(
            "--prefix-cache",
            metavar="DIR",
            help="Keep those of earlier prompts there too, for later starts.",
        ),
    ] = None
    embedding: Annotated[
        bool | None,
        in_server(
            "--embedding/--no-embedding",
            metavar=None,
            help="Make embeddings with a language model, or answer with a model of embeddings.",
        ),
    ] = None
    pooling: Annotated[
        str | None,
        in_server(
            "--pooling",
            metavar="HOW",
            help="Pool embeddings by mean, cls, last or none. Default: as the model says.",
        ),
    ] = None
    prefix_dir_mib: Annotated[
        int,
        in_server("--prefix-cache-size", metavar="MIB", help="What they may take. Default 8192."),
    ] = 8192

    def keywords(self) -> dict[str, Any]:
        """The keywords for `qrt.load`. Raises InputError."""
        names = ("max_running", "max_waiting", "latency", "embedding", "pooling")
        given = {name: getattr(self, name) for name in names}
        for flag, mib in (
            ("cache-ram", self.cache_mib),
            ("prefix-cache-size", self.prefix_dir_mib),
        ):
            if mib is not None and not 0 <= mib <= _MOST_MIB:
                raise InputError(f"--{flag} is {mib}; it must be MiB from 0 to {_MOST_MIB}")
        if self.cache_mib is not None:
            given["kv_bytes"] = self.cache_mib << 20
        if self.prefix_dir is not None:
            given |= {"prefix_dir": self.prefix_dir, "prefix_dir_bytes": self.prefix_dir_mib << 20}
        return TemplateFlags.keywords(self) | given
