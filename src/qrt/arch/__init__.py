"""Architectures: metadata and tensors of a file become a graph."""

from qrt.arch.registry import ARCHITECTURES, build_graph

__all__ = ["ARCHITECTURES", "build_graph"]
