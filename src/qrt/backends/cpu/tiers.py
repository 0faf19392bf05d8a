"""Which instruction tiers there are, and what this CPU offers of what they ask for."""

from __future__ import annotations

from qrt.config import Env
from qrt.kernels import isa


def tier_in_use(env: Env) -> str:
    """The tier that kernels are compiled for. Raises BackendError where none can be."""
    return isa.choose(env.isa).name


def obstacles() -> dict[str, str]:
    """Why this CPU cannot run each tier, the weakest first; empty where it can."""
    features = isa.host_features()
    return {tier.name: isa.missing(tier, features) for tier in isa.TIERS.values()}


def offered_features() -> tuple[str, ...]:
    """Those that some tier asks for and this CPU has."""
    wanted = frozenset[str]().union(*(tier.needs for tier in isa.TIERS.values()))
    return tuple(sorted(wanted & isa.host_features()))
