"""What went wrong, in one line, and what to do next; exit status 1 and no traceback."""

from typing import IO, Any

import click


class Failure(click.ClickException):
    """`message` says what is wrong, `advice` what to do about it."""

    def __init__(self, message: str, advice: str = "") -> None:
        dot = "" if message.endswith((".", "\n")) else ". "
        super().__init__(f"{message}{dot}{advice}" if advice else message)

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"gollem: {self.message}", file=file, err=file is None)
