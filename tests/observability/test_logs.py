"""A line is JSON with the ids of what is being done, or text; secrets never get there; nobody waits for it."""

import asyncio
import io
import json
import logging
import threading
from typing import Any

import pytest

from gollem.config import load
from gollem.observability import logging_as, logs, note

_log = logging.getLogger("gollem.test")


def as_json(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def config(**changes: str) -> Any:
    return load(overrides={f"observability.{name}": value for name, value in changes.items()}).observability


async def test_lines_carry_the_ids_of_their_own_task() -> None:
    stream = io.StringIO()

    async def serve(number: int) -> None:
        note(request_id=f"r{number}")
        await asyncio.sleep(0)
        note(order_id=f"o{number}", match_id=f"hold:o{number}")
        await asyncio.sleep(0)
        _log.info("served %d", number)

    with logging_as(config(log="json"), stream):
        await asyncio.gather(*(serve(number) for number in range(3)))
        _log.info("beside")
    lines = {line["message"]: line for line in as_json(stream)}
    for number in range(3):
        line = lines[f"served {number}"]
        ids = {name: line[name] for name in ("request_id", "order_id", "match_id")}
        assert ids == {"request_id": f"r{number}", "order_id": f"o{number}", "match_id": f"hold:o{number}"}
        assert (line["level"], line["logger"]) == ("INFO", "gollem.test")
        assert line["time"].endswith("+00:00")
    assert "request_id" not in lines["beside"]


def test_text_is_as_it_was_and_says_the_ids() -> None:
    stream = io.StringIO()
    with logging_as(config(), stream):
        _log.info("plain")
    assert stream.getvalue().endswith(" INFO gollem.test: plain\n")


def test_a_traceback_stays_one_line_of_json() -> None:
    stream = io.StringIO()
    with logging_as(config(log="json"), stream):
        try:
            raise ValueError("broken")
        except ValueError:
            _log.exception("it broke")
    (line,) = as_json(stream)
    assert "ValueError: broken" in line["exc_info"]


def test_levels() -> None:
    stream = io.StringIO()
    with logging_as(config(level="warning"), stream):
        _log.info("no")
        _log.warning("yes")
    assert stream.getvalue().count("\n") == 1


def test_libraries_are_not_debugged() -> None:
    """Those of HTTP/2 tell every header then."""
    stream = io.StringIO()
    with logging_as(config(level="debug"), stream):
        logging.getLogger("hpack").debug("no")
        logging.getLogger("hpack").info("yes")
        _log.debug("ours")
    assert stream.getvalue().count("\n") == 2
    assert "ours" in stream.getvalue()


SECRETS = (
    "authorization: Bearer glm_0123456789abcdef_" + "s" * 43,
    "glm_0123456789abcdef_" + "s" * 43,
    "key sk_live_" + "s" * 24,
    "rk_test_" + "s" * 24,
    "whsec_" + "s" * 32,
    "pi_3Nabc_secret_" + "s" * 24,
    "redis://node:" + "s" * 16 + "@10.0.0.5:6379",
)


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_taken_out_wherever_it_stands(text: str, form: str) -> None:
    stream = io.StringIO()
    with logging_as(config(log=form), stream):
        _log.warning("told %s", text)
        try:
            raise ValueError(text)
        except ValueError:
            _log.exception("broken")
    assert "sss" not in stream.getvalue()
    assert stream.getvalue().count("***") >= 2


def test_what_does_not_fit_is_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that is stuck holds nobody up."""
    gate = threading.Event()

    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            gate.wait(10)
            return super().write(text)

    monkeypatch.setattr(logs, "QUEUED", 5)
    stream = Stuck()
    with logging_as(config(), stream):
        for number in range(20):
            _log.info("line %d", number)
        gate.set()
    assert "line 0" in stream.getvalue()
    assert "lines of the log were left out" in stream.getvalue()


def test_everything_is_as_before_afterwards() -> None:
    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    with logging_as(config(level="debug"), io.StringIO()):
        assert logging.getLogger().handlers != handlers
    assert (logging.getLogger().handlers, logging.getLogger().level) == (handlers, level)
