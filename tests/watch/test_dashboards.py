"""Every panel's query is answered, by a real Prometheus that scrapes an exchange under traffic."""

import asyncio
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.servers.prometheus import Prometheus
from tests.until import until_answer
from tests.watch.alarms import quick_rules
from tests.watch.conftest import Stage

ROOT = Path(__file__).parents[2]
BOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))


def queries() -> list[tuple[str, str]]:
    """Panel and expression, as Grafana would ask."""
    found = []
    for file in BOARDS:
        for panel in json.loads(file.read_text())["panels"]:
            found += [(f"{file.stem}: {panel['title']}", target["expr"]) for target in panel["targets"]]
    return found


def test_what_is_generated_is_current() -> None:
    command = [sys.executable, "tools/gen_dashboards.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


async def test_each_panel_has_data(stage: Stage) -> None:
    wanted = queries()
    assert {file.stem for file in BOARDS} == {"exchange", "providers", "agents", "money", "nodes"}
    assert len(wanted) > 50
    async with stage.watched(quick_rules()) as prometheus:
        missing = list(wanted)

        async def all_answered() -> bool:
            missing[:] = [each for each in missing if not await _has_data(prometheus, each[1])]
            return not missing

        try:
            await until_answer(all_answered, 60)
        except AssertionError:
            raise AssertionError(f"no data for {missing}") from None


async def _has_data(prometheus: Prometheus, expression: str) -> bool:
    answer: list[dict[str, Any]] = await asyncio.to_thread(prometheus.query, expression)
    return any(not math.isnan(float(each["value"][1])) for each in answer)
