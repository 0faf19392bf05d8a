"""Interfaces of other libraries over qrt, for programs that were written for them."""
