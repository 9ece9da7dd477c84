"""Every alert that may fire has its row in the runbook, and every row its alert."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_runbook_names_what_the_alerts_are_called() -> None:
    page = (ROOT / "docs/payments.md").read_text()
    rows = {row.partition(":")[0] for row in re.findall(r"^\| `([^`]+)`", page, re.MULTILINE)}
    code = "\n".join(file.read_text() for file in (ROOT / "gollem").rglob("*.py"))
    families = set(re.findall(r'f"([a-z_]+):\{', code)) & rows
    assert families >= {"payment", "refund", "dispute", "event", "top_up", "top_up_cap", "payout", "unpaid"}
    for kind in ("unmatched", "unresolved", "foreign"):  # `movements.py` puts them together
        assert f'"{kind}"' in code
        assert kind in rows
    for reason in ("late", "cancelled", "paid_after_all"):
        assert f'"{reason}"' in code
        assert reason in page
