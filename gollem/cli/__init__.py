"""The command line: `gollem`, and `python -m gollem`."""

from gollem.cli.root import main

__all__ = ["main"]
