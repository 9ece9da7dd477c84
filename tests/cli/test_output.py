"""Credits are shown exactly, and always with USD."""

import pytest

from gollem.cli import output


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("1000.00000000", "1000.00000000 credits ($1.00)"),
        ("0.00000001", "0.00000001 credits ($0.00000000001)"),
        ("-1.50000000", "-1.50000000 credits ($-0.0015)"),
        ("", "0.00000000 credits ($0.00)"),
    ],
)
def test_money(amount: str, shown: str) -> None:
    assert output.money(amount) == shown


@pytest.mark.parametrize(
    ("charged_atoms", "tokens", "shown"),
    [(25_000_000, 1_000, "0.25"), (1, 3, "0.000003"), (0, 5, "0.00"), (7, 0, "-")],
)
def test_usd_per_million_tokens(charged_atoms: int, tokens: int, shown: str) -> None:
    assert output.usd_per_mtok(charged_atoms, tokens) == shown
