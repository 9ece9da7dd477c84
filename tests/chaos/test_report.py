"""What is said at the end of a run agrees with its exit status."""

import pytest

from tests.chaos import report
from tests.chaos.run import Outcome, Row


def _row(gap_s: float, broken: list[str]) -> Row:
    return Row("kill -9 a node", gap_s, 2.0, 0.0, 1.0, 10, 2, 1, {}, broken=broken)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (_row(0.5, []), "every promise was kept"),
        (_row(10.9, []), "MISSED: kill -9 a node: too long"),
        (_row(0.5, ["a caller had to repeat 2 times"]), "MISSED: kill -9 a node: a caller had to repeat 2 times"),
    ],
)
def test_a_run_is_not_called_good_when_it_missed(row: Row, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = Outcome([row], [], [], 10, 8)
    report.tell(outcome)
    words = capsys.readouterr().err
    assert said in words
    assert ("every promise was kept" in words) is report.is_good(outcome)
