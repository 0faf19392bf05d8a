"""Architectures: metadata and tensors of a file become a graph."""

from qrt.arch.registry import architecture_names, build_graph

__all__ = ["architecture_names", "build_graph"]
