"""The log: text for people, or a JSON object a line, with the ids of what is being done. A thread writes it.

Whoever logs waits for no disk: a bounded queue takes the record, and what does not fit is counted and left out. Secrets
do not belong into a message; should one get there, it is taken out.
"""

import json
import logging
import queue
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from logging.handlers import QueueHandler, QueueListener
from types import MappingProxyType
from typing import Any, TextIO, cast

from pythonjsonlogger.json import JsonFormatter

from gollem.config import ObservabilityConfig

QUEUED = 10_000
TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_SECRET = re.compile(
    r"(?i)(bearer\s+)[^\s\"']+"  # of an Authorization header
    r"|\b(glm_[0-9a-f]{16}_|(?:sk|rk)_(?:live|test)_|whsec_|\w+_secret_)[A-Za-z0-9_-]+"  # API keys, Stripe's secrets
    r"|(://[^\s/:@]*:)[^\s/@]+(?=@)"  # passwords in URLs
)
_LINE = "line"  # a record with this attribute is a line of its own, as it is

_NONE: Mapping[str, str] = MappingProxyType({})
_ids: ContextVar[Mapping[str, str]] = ContextVar("ids", default=_NONE)


def note(**ids: str) -> None:
    """From now on, in this task and those it starts, each line of the log carries these: request_id, order_id, ..."""
    _ids.set({**_ids.get(), **ids})


def noted() -> Mapping[str, str]:
    """What lines carry here."""
    return _ids.get()


def write_line(logger: logging.Logger, line: Mapping[str, Any]) -> None:
    """This object as a line of the log, whatever its form: for programs that read the log."""
    logger.info("", extra={_LINE: json.dumps(line, separators=(",", ":"))})


@contextmanager
def logging_as(config: ObservabilityConfig, stream: TextIO | None = None) -> Iterator[None]:
    """While it lasts, everything is logged as configured; at its end all that was logged is written."""
    root, ours, handler = logging.getLogger(), logging.getLogger("gollem"), logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Json() if config.log == "json" else _Text(TEXT))
    queued = _Queued()
    listener = _Listener(queued.queue, handler)
    before, levels = list(root.handlers), (root.level, ours.level)
    level: int = getattr(logging, config.level.upper())
    root.handlers[:] = [queued]
    root.setLevel(max(level, logging.INFO))  # libraries debug by telling every header
    ours.setLevel(level)
    listener.start()
    try:
        yield
    finally:
        root.handlers[:] = before
        root.setLevel(levels[0])
        ours.setLevel(levels[1])
        listener.stop()
        if queued.dropped:
            print(f"{queued.dropped} lines of the log were left out: the queue was full", file=handler.stream)


class _Queued(QueueHandler):
    """What the record says is fixed here, in the caller's context; how it looks is the thread's affair."""

    def __init__(self) -> None:
        super().__init__(queue.Queue(QUEUED))
        self.dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        record.msg, record.args = record.getMessage(), None
        record.ids = _ids.get()
        if record.exc_info:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip()
            record.exc_info = None
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1


class _Listener(QueueListener):
    def enqueue_sentinel(self) -> None:
        """The end comes after all that waits, however full the queue is."""
        cast("queue.Queue[object]", self.queue).put(None)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        if hasattr(record, _LINE):
            return str(getattr(record, _LINE))
        ids = " ".join(f"{name}={value}" for name, value in getattr(record, "ids", {}).items())
        text = super().format(record)
        head, newline, rest = text.partition("\n")
        return _without_secrets(f"{head} [{ids}]{newline}{rest}" if ids else text)


class _Json(JsonFormatter):
    """time (UTC), level, logger, message, the ids, and exc_info for what broke."""

    def __init__(self) -> None:
        names = {"levelname": "level", "name": "logger"}
        super().__init__("%(levelname)s %(name)s %(message)s", rename_fields=names, timestamp="time")

    def format(self, record: logging.LogRecord) -> str:
        if hasattr(record, _LINE):
            return str(getattr(record, _LINE))
        return _without_secrets(super().format(record))

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        ids = record.__dict__.pop("ids", {})
        super().add_fields(log_data, record, message_dict)
        log_data.update(ids)


def _without_secrets(text: str) -> str:
    return _SECRET.sub(lambda found: "".join(part or "" for part in found.groups()) + "***", text)
