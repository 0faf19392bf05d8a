"""granitehybrid: Granite 4, and Bamba."""

from __future__ import annotations

from qrt.arch.architectures import granite
from qrt.arch.experts import SHARED_DIM, ExpertRules
from qrt.arch.mamba import Mamba2


class Architecture(Mamba2, granite.Architecture):
    """IBM 2025: layers of Mamba-2 and of attention, Granite's numbers, in some files experts."""

    attention_is = "somewhere"
    rules = ExpertRules(optional=True, keys=(SHARED_DIM,), shared="one", shared_dim="none")
    required_biases = ()
    optional_biases = (*granite.Architecture.optional_biases, "ssm_conv1d")
