"""`python -m qrt` is the `qrt` command."""

from qrt.cli import main

main()
