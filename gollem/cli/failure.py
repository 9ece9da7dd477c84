"""What went wrong, in one line, and what to do next; exit status 1 and no traceback."""

from typing import IO, Any

import click

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class Failure(click.ClickException):
    """`message` says what is wrong, `advice` what to do about it."""

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(f"{message}{_between(message)}{advice}" if advice else message)

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"gollem: {self.message}", file=file, err=file is None)


def interrupted() -> click.exceptions.Exit:
    """To be raised when Ctrl-C, or a signal like it, has ended a command in order."""
    return click.exceptions.Exit(INTERRUPTED)


def _between(message: str) -> str:
    """What ends a sentence, unless it has ended."""
    if message.endswith("\n"):
        return ""
    return " " if message.endswith((".", "?", "!")) else ". "
