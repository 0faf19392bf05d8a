"""granitemoe: Granite 3 and 4 with experts."""

from __future__ import annotations

from qrt.arch.architectures import granite, llama
from qrt.arch.experts import SHARED_DIM, ExpertRules
from qrt.arch.hparams import Layer
from qrt.graph.ops.rope import RopeSpec


class Architecture(granite.Architecture):
    """IBM 2024: Granite's numbers, and shared experts where the file has them."""

    rules = ExpertRules(keys=(SHARED_DIM,), shared="one", shared_dim="none")

    def rope_spec(self, layer: Layer) -> RopeSpec | None:
        """All files have it."""
        return llama.Architecture.rope_spec(self, layer)
