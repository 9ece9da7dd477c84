"""The root command: a table of commands, each loaded when it is called, so that `gollem --help` is quick."""

import logging
from importlib import import_module

import click

# Name -> where it is, and what it does.
COMMANDS = {
    "demo": ("gollem.cli.demo:demo", "see all of it work on this machine, with a real model"),
    "serve": ("gollem.cli.serve:serve", "run the exchange"),
    "gateway": ("gollem.cli.gateway:gateway", "serve the exchange over HTTP, by Envoy"),
    "config": ("gollem.cli.settings:config", "show every setting and its value"),
    "keys": ("gollem.cli.keys:keys", "make, list and revoke API keys"),
    "credits": ("gollem.cli.grants:credits_", "buy credits, or give an account some"),
    "payouts": ("gollem.cli.payouts:payouts", "see what was earned, and have it paid out"),
    "generate": ("gollem.cli.generate:generate", "buy an answer and stream it"),
    "models": ("gollem.cli.models:models", "show what the catalogue has"),
    "match": ("gollem.cli.bids:match", "match a bid and hold its cost"),
    "quote": ("gollem.cli.bids:quote", "show the front for a bid; nothing is deducted"),
    "book": ("gollem.cli.book:book", "show the order book and draw its front"),
    "trades": ("gollem.cli.trades:trades", "show what was matched lately, and what bids were refused for"),
    "why": ("gollem.cli.why:why", "show why an ask is not matched, and what would win"),
    "balance": ("gollem.cli.account:balance", "show an account's credits"),
    "transactions": ("gollem.cli.account:transactions", "show an account's statement"),
    "spend-limit": ("gollem.cli.spend_limit:spend_limit", "limit what an account spends a day and a month"),
    "cases": ("gollem.cli.cases:cases", "see and decide what waits for an operator"),
    "nodes": ("gollem.cli.nodes:nodes", "show the servers that share one book"),
    "reconcile": ("gollem.cli.payments_report:reconcile_", "compare the books with Stripe's"),
    "ledger": ("gollem.cli.audit:ledger", "make a ledger, prove that its books balance"),
}


class LazyGroup(click.Group):
    """A group that imports a command's module only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, purpose) for name, (_, purpose) in COMMANDS.items()])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gollem", message="%(prog)s %(version)s")
def main() -> None:
    """GoLLeM: an exchange for LLM inference."""
    # `gollem serve` says more; elsewhere a warning of some room would only stand in the way of the answer.
    logging.basicConfig(level=logging.ERROR, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
