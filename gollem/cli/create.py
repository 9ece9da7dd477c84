"""`gollem ledger create`: makes the table of a ledger on DynamoDB, with all that protects it."""

import click

from gollem.cli.connection import run
from gollem.cli.failure import Failure
from gollem.cli.settings import read_config
from gollem.errors import GollemError


@click.command()
@click.option("--ledger", "url", metavar="URL", help="of the ledger, such as dynamodb://gollem?region=eu-west-1")
def create(url: str | None) -> None:
    """Make the table: on demand, indexes, stream, deletion protection, point-in-time recovery.

    What is there already is left as it is; what the server cannot do is said. A ledger on SQLite makes itself.
    """
    from gollem.ledger.dynamodb.ledger import create_dynamodb

    overrides = {"storage.ledger": url} if url else {}
    try:
        told = run(create_dynamodb(read_config(overrides=overrides).storage.ledger_url()))
    except GollemError as error:
        raise Failure(
            error.message, "Name the table with --ledger; credentials and region as for any AWS tool."
        ) from error
    for line in told:
        click.echo(line)
