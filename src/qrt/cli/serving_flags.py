"""The flags of a model that serves: how it is loaded, and how it shares its time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from qrt.cli.chat_flags import TemplateFlags
from qrt.cli.flags import in_server


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

    def keywords(self) -> dict[str, Any]:
        """The keywords for `qrt.load`. Raises InputError."""
        names = ("max_running", "max_waiting", "latency")
        return TemplateFlags.keywords(self) | {name: getattr(self, name) for name in names}
