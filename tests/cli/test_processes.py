"""Children end with their block, whatever happens; one that dies early is named with the end of its log."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from gollem.cli.demo.processes import Processes, answers, free_port
from gollem.cli.failure import Failure

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
]


async def never() -> bool:
    return False


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_children_end_with_the_block(tmp_path: Path) -> None:
    async with Processes(tmp_path) as processes:
        await processes.start("one", SLEEPER)
        await processes.start("two", SLEEPER)
        pids = processes.pids()
        assert all(map(alive, pids))
    assert not any(map(alive, pids))


@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError])
async def test_children_end_with_an_error(tmp_path: Path, error: type[BaseException]) -> None:
    pids = []

    async def fail() -> None:
        async with Processes(tmp_path) as processes:
            await processes.start("one", SLEEPER)
            processes.keep()
            pids.extend(processes.pids())
            raise error

    with pytest.raises(error):
        await fail()
    assert pids
    assert not any(map(alive, pids))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_children_end_with_a_signal(tmp_path: Path, number: int) -> None:
    pids = []

    async def wait_for_ever() -> None:
        async with Processes(tmp_path) as processes:
            await processes.start("one", SLEEPER)
            pids.extend(processes.pids())
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(wait_for_ever())
    assert pids
    assert not any(map(alive, pids))


async def test_a_second_ctrl_c_leaves_no_child_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gollem.cli.demo.processes.STOP_TIMEOUT_S", 0.3)
    pids = []

    async def wait_for_ever() -> None:
        async with Processes(tmp_path) as processes:
            await processes.start("deaf", DEAF)
            await processes.wait_until("deaf", lambda: said_up(processes), 10)
            pids.extend(processes.pids())
            asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(wait_for_ever())
    assert pids
    assert not any(map(alive, pids))


async def test_one_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gollem.cli.demo.processes.STOP_TIMEOUT_S", 0.2)
    async with Processes(tmp_path) as processes:
        await processes.start("deaf", DEAF)
        await processes.wait_until("deaf", lambda: said_up(processes), 10)
        pids = processes.pids()
    assert not any(map(alive, pids))


async def said_up(processes: Processes) -> bool:
    return "up" in processes.log("deaf").read_text()


async def test_kept_children_go_on(tmp_path: Path) -> None:
    async with Processes(tmp_path) as processes:
        await processes.start("one", SLEEPER)
        processes.keep()
    assert all(map(alive, processes.pids()))
    await processes.stop()
    assert not processes.pids()


async def test_an_early_death_shows_the_log(tmp_path: Path) -> None:
    async with Processes(tmp_path) as processes:
        await processes.start("broken", [sys.executable, "-c", "import sys; sys.exit('no luck today')"])
        with pytest.raises(Failure, match="broken ended with status 1") as caught:
            await processes.wait_until("it", never, 10)
    assert "no luck today" in caught.value.message


async def test_waiting_ends(tmp_path: Path) -> None:
    async with Processes(tmp_path) as processes:
        await processes.start("slow", SLEEPER)
        with pytest.raises(Failure, match="it is not ready after"):
            await processes.wait_until("it", never, 0.1)


async def test_a_free_port_answers_once_somebody_listens() -> None:
    port = free_port()
    assert not await answers(port)
    async with await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", port):
        assert await answers(port)
