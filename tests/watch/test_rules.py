"""Rules and alerts as Prometheus itself checks them, and a runbook that has an entry for each alert."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from gollem.cli import main
from gollem.observability.metrics import EVERY, Kind
from tests.servers.prometheus import promtool

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus"
ALERTS = (RULES / "alerts.yml").read_text()
NAMES = re.findall(r"- alert: (\w+)", ALERTS)
RUNBOOK = (ROOT / "docs" / "runbooks.md").read_text()
SUFFIXES = ("_bucket", "_sum", "_count")


def test_the_rules_and_the_configuration_are_valid() -> None:
    promtool("check", "rules", "recording.yml", "alerts.yml", folder=RULES)
    promtool("check", "config", "prometheus.yml", folder=RULES)


def test_each_alert_is_quiet_fires_and_clears() -> None:
    """Over the series of rules_test.yml, in Prometheus's own time."""
    promtool("test", "rules", "rules_test.yml", folder=RULES)
    tried = re.findall(r"- name: (\w+)", (RULES / "rules_test.yml").read_text())
    assert tried == NAMES
    assert len(NAMES) > 12


@pytest.mark.parametrize("file", ["recording.yml", "alerts.yml"])
def test_rules_ask_only_for_what_there_is(file: str) -> None:
    known = {metric.name for metric in EVERY}
    known |= {metric.name + suffix for metric in EVERY if metric.kind is Kind.HISTOGRAM for suffix in SUFFIXES}
    asked = set(re.findall(r"\bgollem_[a-z0-9_]+", (RULES / file).read_text()))
    assert asked
    assert asked <= known


def test_each_alert_has_a_runbook_entry() -> None:
    entries = [heading.lower() for heading in re.findall(r"^## (.+)$", RUNBOOK, re.MULTILINE)]
    assert entries == [name.lower() for name in NAMES]
    assert re.findall(r"runbook_url: docs/runbooks.md#(\w+)", ALERTS) == entries


def test_the_runbook_names_only_commands_and_settings_that_exist() -> None:
    commands = {tuple(words.split()) for words in re.findall(r"`gollem ((?:[a-z]+)(?: [a-z][a-z-]+)?)", RUNBOOK)}
    assert len(commands) > 5
    for words in commands:
        assert CliRunner().invoke(main, [*words, "--help"]).exit_code == 0, words
    asked = set(re.findall(r"\bgollem_[a-z0-9_]+", RUNBOOK))
    assert asked <= {metric.name for metric in EVERY}
