"""Credits are shown exactly, and always with USD."""

import pytest

from gollem.cli import output
from gollem.cli.why import show
from gollem_client import stubs


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


@pytest.mark.parametrize(
    ("bids", "said"),
    [
        (1, ["0 of 1 bid lately; 1 goes to", "1 has a price limit", "win the one bid that"]),
        (2, ["0 of 2 bids lately; 2 go to", "2 have a price limit", "win at least half of the 2 bids that"]),
    ],
)
def test_numbers_and_their_nouns_agree(bids: int, said: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    chances = stubs.AskChances(
        bids=bids, outbid=bids, excluded_by={"price": bids}, winning_price="1", won_by_price=bids
    )
    show(output.stdout(), chances)
    shown = " ".join(capsys.readouterr().out.split())
    assert [words for words in said if words not in shown] == []
