"""A real Prometheus on a free loopback port, and promtool. Nothing is left behind.

A missing one fails loudly: rules that were not tried must not look as if they had been.
"""

import json
import shutil
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.servers.redis_server import free_port

_START_TIMEOUT_S = 60


class Prometheus:
    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an instant query answers. Raises AssertionError for one that is wrong."""
        answer = self._get("/api/v1/query", query=expression)
        assert answer["status"] == "success", answer
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def firing(self) -> set[str]:
        """Names of alerts that fire now."""
        alerts = self._get("/api/v1/alerts")["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _get(self, path: str, **parameters: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(parameters)}", timeout=30) as answer:
            return json.load(answer)


@contextmanager
def prometheus(
    targets: Mapping[str, list[str]], rules: Mapping[str, str], every: str = "250ms"
) -> Iterator[Prometheus]:
    """One that scrapes these targets by job, and evaluates these rules by file name, so often."""
    with tempfile.TemporaryDirectory(prefix="gollem-prometheus-") as name:
        folder, port = Path(name), free_port()
        for file, text in rules.items():
            (folder / file).write_text(text)
        jobs = [{"job_name": job, "static_configs": [{"targets": addresses}]} for job, addresses in targets.items()]
        times = {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every}
        settings = {"global": times, "rule_files": list(rules), "scrape_configs": jobs}
        (folder / "prometheus.yml").write_text(json.dumps(settings))  # which is YAML, too
        command = [
            tool("prometheus"), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}", "--query.lookback-delta=3s", "--log.level=warn",
        ]  # fmt: skip
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            server = Prometheus(port)
            deadline = time.monotonic() + _START_TIMEOUT_S
            while not server.is_ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"prometheus did not start:\n{(folder / 'log').read_text()}")
                time.sleep(0.05)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def promtool(*words: str, folder: Path) -> str:
    """What it says. Raises AssertionError, with that, if it finds a fault."""
    command = [tool("promtool"), *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is missing: apt-get install prometheus, as .ci/run does")
    return found
