"""The benchmark of the market still runs, and says what it promises."""

import json

import pytest

from benchmarks import bench_market


def test_it_runs_small(capsys: pytest.CaptureFixture[str]) -> None:
    bench_market.main(["--quick"])
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert len(lines) > 20
    for line in lines:
        assert set(line) == {"bench", "case", "value", "unit", "peer", "peer_value", "ratio", "target", "reached"}
        assert line["value"] > 0
    assert "order book" in captured.err
