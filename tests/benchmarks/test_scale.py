"""The model of a fleet runs, on little, and its parts reckon right where one can reckon by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.scale import __main__ as scale
from benchmarks.scale import calibration
from benchmarks.scale.fleet import ceilings, needs
from benchmarks.scale.load import HELD, WANTED
from benchmarks.scale.queue import departures_s
from benchmarks.scale.refusals import Market
from benchmarks.scale.staleness import staleness


def test_it_writes_the_page_and_its_pictures(tmp_path: Path) -> None:
    scale.main(["--quick", "--docs", str(tmp_path)])
    text = (tmp_path / "scale.md").read_text()
    pictures = [line.partition("(")[2].rstrip(")") for line in text.splitlines() if line.startswith("![")]
    assert len(pictures) == 6
    assert (tmp_path / pictures[0]).read_text().startswith("<?xml")
    assert "100,000 matches a second" in text


def test_a_calibration_is_read_as_it_was_written(tmp_path: Path) -> None:
    measured = calibration.load()
    calibration.save(measured, tmp_path / "file.toml")
    assert calibration.load(tmp_path / "file.toml") == measured


def test_a_queue_is_first_come_first_served() -> None:
    done = departures_s(np.array([0.0, 1.0, 1.5, 9.0]), np.array([2.0, 1.0, 1.0, 1.0]))
    assert done.tolist() == pytest.approx([2.0, 3.0, 4.0, 10.0])


def test_who_hears_at_once_is_never_refused() -> None:
    fresh, late = (Market(20, 2, nodes=10, stale_s=stale_s, sameness=1.0).run(100, 0.3, 6) for stale_s in (0.0, 0.2))
    assert fresh.claims > 200
    assert fresh.refused == 0
    assert late.refused > 0


def test_what_is_held_is_held_and_more_is_not() -> None:
    cost = calibration.load()
    assert needs(HELD, cost).cores_a_node < 1
    assert not staleness(HELD, cost, needs(HELD, cost).shards, seconds=0.2).falls_behind
    most = ceilings(HELD, cost)["a node does all its work on one thread"]
    assert needs(replace(HELD, matches_s=most), cost).cores_a_node == pytest.approx(0.7)
    assert staleness(WANTED, cost, needs(WANTED, cost).shards, seconds=0.02).falls_behind
