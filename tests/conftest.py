"""What tests of several rooms share: real servers, started once a session by whoever first needs one."""

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gollem.ledger.dynamodb import pace, proof, table
from tests.servers.dynamodb_local import CREDENTIALS, ENDPOINT, dynamodb_local, make_table

# Servers that tests start as processes of their own run side by side: each takes a free port for its metrics.
os.environ.setdefault("GOLLEM_SERVER_METRICS_PORT", "0")

_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 1 << 30
# Of single tests that take many seconds.
_LONG = ("tests/system/", "tests/watch/", "tests/dashboard/", "tests/interop/", "tests/cli/test_demo.py")


def pytest_configure(config: pytest.Config) -> None:
    """Tests' folders are in memory where there is room: what survives a power cut is tried by a disk that is played,
    and waiting for a real one proves nothing more."""
    if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first: one that begins when the others are done keeps a core waiting."""
    items.sort(key=lambda item: not item.nodeid.startswith(_LONG))


@pytest.fixture(autouse=True)
def log_levels() -> Iterator[None]:
    """As they were: simulations and benchmarks silence what they run, for good."""
    loggers = [logging.getLogger(name) for name in ("", "gollem", "stripe")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture(scope="session")
def dynamodb_endpoint() -> Iterator[str]:
    """A DynamoDB Local; it and credentials for it are in the environment."""
    with dynamodb_local() as endpoint, pytest.MonkeyPatch.context() as patch:
        for name, value in (CREDENTIALS | {ENDPOINT: endpoint}).items():
            patch.setenv(name, value)
        patch.setattr(pace, "NOTICE_S", 0)  # a test moves its machines' clocks by itself
        patch.setattr(proof, "_FIRST_WAIT_S", 0.001)  # and what else moves, between one look and the next
        patch.setattr(table, "_WAIT_S", 0.1)  # an index is there sooner than at Amazon's
        patch.setattr(table, "_MOST_TURNS", 1_200)
        yield endpoint


@pytest.fixture
async def dynamodb_table(dynamodb_endpoint: str, tmp_path: Path) -> str:
    """The URL of an empty ledger on it."""
    return await make_table(tmp_path)
