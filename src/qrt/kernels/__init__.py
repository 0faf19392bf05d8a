"""Numba kernels, the cache of their machine code, the tape that runs them and the thread team.

A process that only runs kernels never imports numba: machine code is compiled in child processes
(`compiler`), kept as object files (`objects`) and loaded by llvmlite alone.
"""
