"""How many calls there are, how long each took, and how it ended. Methods are those of the services: there are few."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from gollem.clock import stopwatch_s
from gollem.observability import Meters, Sample, metrics
from grpclib_guard import fault_info

_log = logging.getLogger(__name__)


class CallMeter:
    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self._open: Counter[str] = Counter()
        meters.read_from("calls", self._samples)

    @contextmanager
    def call(self, method: str) -> Iterator[None]:
        """One call, as `/package.Service/Method`."""
        name = method.rpartition("/")[2]
        self._open[name] += 1
        began_s, ending = stopwatch_s(), (Status.OK.name, "")
        try:
            yield
        except BaseException as error:
            ending = _ending(error)
            raise
        finally:
            self._open[name] -= 1
            took_s = stopwatch_s() - began_s
            self._meters.observe(metrics.RPC_SECONDS, took_s, name)
            self._meters.count(metrics.RPC_CALLS, name, *ending)
            _log.debug("%s ended %s %s after %.1f ms", name, *ending, took_s * 1_000)

    def _samples(self) -> Iterable[Sample]:
        for name, count in self._open.items():
            yield Sample(metrics.RPC_OPEN, count, (name,))


def _ending(error: BaseException) -> tuple[str, str]:
    """Status and reason."""
    if isinstance(error, GRPCError):
        return error.status.name, fault_info(error)[0]
    if isinstance(error, asyncio.CancelledError | StreamTerminatedError):
        return Status.CANCELLED.name, ""
    return (Status.DEADLINE_EXCEEDED if isinstance(error, TimeoutError) else Status.UNKNOWN).name, ""
