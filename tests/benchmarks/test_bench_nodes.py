"""The benchmark runs, on little, so that it does not rot."""

import json

import pytest

from benchmarks import bench_nodes


def test_every_case_has_a_figure(capsys: pytest.CaptureFixture[str]) -> None:
    bench_nodes.main(["--quick"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 37
    assert all(line["bench"] == "nodes" for line in lines)
    assert all(line["value"] > 0 or "refused" in line["case"] for line in lines)
