"""The limits of one connection, frame by frame, with a client that obeys nothing."""

import asyncio
import tracemalloc
from typing import Any

import pytest
from hyperframe.frame import (
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from .raw import PREFACE, data, message, reset, split
from .service import BIG, COUNT, DEAF, ECHO, HELD, Probe

ENHANCE_YOUR_CALM = 11
NO_ERROR = 0


# --- headers --------------------------------------------------------------------------------------------------------


async def test_header_list_above_the_limit_ends_the_connection(serve: Any, connect: Any) -> None:
    client = await connect((await serve(max_header_bytes=4_096)).port)
    assert await client.status(ECHO, b"x", (b"x-name", b"a" * 3_000)) == 0
    client.send(client.opening(ECHO, (b"x-name", b"a" * 5_000)))
    assert await client.closed() == ENHANCE_YOUR_CALM


async def test_small_block_that_unpacks_to_a_large_list_ends_the_connection(serve: Any, connect: Any) -> None:
    client = await connect((await serve(max_header_bytes=4_096)).port)
    frame = client.opening(ECHO, *[(b"x-name", b"a" * 1_000)] * 20)
    assert len(frame.data) < 4_096
    client.send(frame)
    assert await client.closed() == ENHANCE_YOUR_CALM


async def test_block_of_instructions_without_headers_ends_the_connection(serve: Any, connect: Any) -> None:
    """Changes of the table's size decode to no header at all, and are work."""
    client = await connect((await serve(max_header_bytes=4_096)).port)
    opening = client.opening(ECHO)
    opening.data = b"\x20" * 5_000 + opening.data
    client.send(opening)
    assert await client.closed() == ENHANCE_YOUR_CALM


async def test_block_of_continuations_without_end_is_cut_short(serve: Any, connect: Any) -> None:
    client = await connect((await serve(max_header_bytes=4_096)).port)
    frames = split(client.opening(ECHO, (b"x-name", b"\x01" * 40_000)), 30)
    client.send(*frames[:-1])
    assert await client.closed() == ENHANCE_YOUR_CALM


async def test_flood_of_empty_continuations_is_cut_short(serve: Any, connect: Any) -> None:
    client = await connect((await serve()).port)
    head, tail = split(client.opening(ECHO), 2)
    tail.data, tail.flags = b"", tail.flags - {"END_HEADERS"}
    client.send(head, *[tail] * 100)
    assert await client.closed() is not None


async def test_block_in_several_pieces_is_read(serve: Any, connect: Any) -> None:
    client = await connect((await serve()).port)
    opening = client.opening(ECHO, (b"x-name", b"a" * 5_000))
    client.send(*split(opening, 4), *data(opening.stream_id, message(b"x"), end=True))
    assert (await client.trailers(opening.stream_id))["grpc-status"] == "0"


# --- floods ---------------------------------------------------------------------------------------------------------


async def test_resets_within_the_budget_leave_nothing_behind(
    serve: Any, connect: Any, probe: Probe, eventually: Any
) -> None:
    server = await serve(resets_per_second=500)
    client = await connect(server.port)
    for _ in range(200):
        opening = client.opening(HELD)
        client.send(opening, reset(opening.stream_id))
    assert await client.status(ECHO) == 0
    await eventually(lambda: server.statistics().calls == 0)
    assert server.statistics().calls_started == 201
    assert probe.started == probe.ended


async def test_calls_whose_handlers_linger_count_as_open(serve: Any, connect: Any, eventually: Any) -> None:
    """A client that cancels and calls again at once cannot have more handlers running than streams allowed."""
    release = asyncio.Event()

    async def stubborn(event: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await release.wait()

    server = await serve(max_streams=5, on_request=stubborn)
    client = await connect(server.port)
    for _ in range(5):
        client.start(ECHO)
    await eventually(lambda: server.statistics().calls == 5)
    client.send(*[reset(stream_id) for stream_id in (1, 3, 5, 7, 9)])
    refused = client.start(ECHO)
    answer = await client.wait_for(lambda f: isinstance(f, RstStreamFrame) and f.stream_id == refused)
    assert answer.error_code == 7
    assert server.statistics().calls == 5
    release.set()


async def test_frames_that_measure_our_answers_are_free(serve: Any, connect: Any) -> None:
    """Go's clients send a PING and two WINDOW_UPDATE for every answer that they read."""
    client = await connect((await serve(pings_per_second=10)).port)
    update = WindowUpdateFrame(0, window_increment=1)
    for _ in range(100):
        assert await client.status(ECHO) == 0
        client.send(PingFrame(0, b"12345678"), update, update)
    assert await client.status(ECHO) == 0


@pytest.mark.parametrize(
    "frame", [WindowUpdateFrame(0, window_increment=1), PriorityFrame(1)], ids=["window", "priority"]
)
async def test_flood_of_frames_for_nothing_ends_the_connection(frame: Frame, serve: Any, connect: Any) -> None:
    client = await connect((await serve()).port)
    client.send(*[frame] * 1_000)
    assert await client.closed() == ENHANCE_YOUR_CALM


async def test_settings_that_nobody_knows_are_not_kept(serve: Any, connect: Any) -> None:
    client = await connect((await serve()).port)
    assert await client.status(ECHO) == 0
    tracemalloc.start()
    try:
        for first in range(100, 20_100, 2_500):
            body = b"".join(code.to_bytes(2, "big") + b"\0\0\0\1" for code in range(first, first + 2_500))
            client.send_bytes(len(body).to_bytes(3, "big") + b"\x04\0\0\0\0\0" + body)
        assert await client.status(ECHO) == 0
        client.seen.clear()
        used_bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert used_bytes < 1_000_000


async def test_many_tiny_frames_do_not_keep_others_waiting(serve: Any, connect: Any) -> None:
    server = await serve()
    flooder, bystander = await connect(server.port), await connect(server.port)
    flooder.send_bytes(data(flooder.start(DEAF), b"x")[0].serialize() * 30_000)
    loop = asyncio.get_running_loop()
    slowest_s = 0.0
    for _ in range(20):
        began = loop.time()
        assert await bystander.status(ECHO) == 0
        slowest_s = max(slowest_s, loop.time() - began)
    assert slowest_s < 0.3


# --- clocks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", PREFACE[:10], PREFACE], ids=["nothing", "half a preface", "no settings"])
async def test_peer_that_never_greets_is_closed(sent: bytes, serve: Any, connect: Any) -> None:
    server = await serve(handshake_timeout_ms=50)
    client = await connect(server.port, greet=False)
    client.send_bytes(sent)
    await client.closed()
    assert server.statistics().closed == {"no_handshake": 1}


async def test_peer_that_speaks_http_1_is_closed(serve: Any, connect: Any) -> None:
    server = await serve()
    client = await connect(server.port, greet=False)
    client.send_bytes(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
    await client.closed()
    assert server.statistics().closed == {"protocol_error": 1}


async def test_idle_connection_is_told_and_closed(serve: Any, connect: Any) -> None:
    server = await serve(idle_timeout_ms=80)
    client = await connect(server.port)
    assert await client.status(ECHO) == 0
    assert await client.closed() == NO_ERROR
    assert server.statistics().closed == {"idle": 1}


async def test_drip_of_header_bytes_does_not_keep_a_connection_open(serve: Any, connect: Any) -> None:
    client = await connect((await serve(idle_timeout_ms=100)).port)
    whole = client.opening(ECHO).serialize()

    async def drip() -> None:
        for byte in whole:
            client.send_bytes(bytes([byte]))
            await asyncio.sleep(0.02)

    dripping = asyncio.ensure_future(drip())
    assert await client.closed() == NO_ERROR
    assert not dripping.done()
    dripping.cancel()


async def test_connection_with_a_call_is_not_idle(serve: Any, connect: Any, probe: Probe) -> None:
    client = await connect((await serve(idle_timeout_ms=30, keepalive_ms=10_000)).port)
    stream_id = client.start(HELD)
    client.send(*data(stream_id, message(b"x"), end=True))
    with pytest.raises(TimeoutError):
        await client.closed(0.2)
    probe.release.set()
    assert (await client.trailers(stream_id))["grpc-status"] == "0"


async def test_silent_peer_with_a_call_is_pinged_and_then_closed(
    serve: Any, connect: Any, probe: Probe, eventually: Any
) -> None:
    server = await serve(keepalive_ms=60)
    client = await connect(server.port)
    client.start(HELD)
    await client.wait_for(lambda frame: isinstance(frame, PingFrame))
    await client.closed()
    assert server.statistics().closed == {"dead": 1}
    await eventually(lambda: probe.ended == 1)


async def test_peer_that_answers_pings_keeps_its_call(serve: Any, connect: Any, probe: Probe) -> None:
    client = await connect((await serve(keepalive_ms=60)).port)
    stream_id = client.start(HELD)
    client.send(*data(stream_id, message(b"x"), end=True))
    for _ in range(5):
        await client.wait_for(lambda frame: isinstance(frame, PingFrame))
        client.seen.clear()
        client.send(PingFrame(0, b"alive?  ", flags=["ACK"]))
    probe.release.set()
    assert (await client.trailers(stream_id))["grpc-status"] == "0"


async def test_call_whose_message_never_comes_ends(serve: Any, connect: Any) -> None:
    client = await connect((await serve(stall_timeout_ms=50)).port)
    never, half = client.start(ECHO), client.start(ECHO)
    client.send(*data(half, message(b"0123456789")[:8]))
    assert (await client.trailers(never))["grpc-status"] == "4"
    assert (await client.trailers(half))["grpc-status"] == "4"


async def test_call_whose_answer_is_not_let_out_ends(serve: Any, connect: Any) -> None:
    """A window of zero holds one message for one stall time-out; the connection goes on."""
    client = await connect((await serve(stall_timeout_ms=50)).port, settings={4: 0})
    assert (await client.call(ECHO, b"x" * 100))["grpc-status"] == "8"
    client.send(SettingsFrame(0, settings={4: 65_535}))
    assert await client.status(ECHO) == 0


async def test_peer_that_does_not_read_its_socket_is_closed(
    serve: Any, connect: Any, probe: Probe, eventually: Any
) -> None:
    server = await serve(stall_timeout_ms=100)
    client = await connect(server.port, settings={4: (1 << 31) - 1})
    client.send(WindowUpdateFrame(0, window_increment=(1 << 31) - 100_000))
    client.stop_reading()
    opening = client.opening(COUNT)
    client.send(opening, *data(opening.stream_id, b"\0\0\0\0\3\x08\xe8\x07", end=True))
    await eventually(lambda: server.connections == 0)
    assert server.statistics().calls_started == 1
    assert server.statistics().closed == {"unread": 1}


async def test_slow_reader_gets_everything(serve: Any, connect: Any) -> None:
    client = await connect((await serve(stall_timeout_ms=2_000)).port, settings={4: 1_000})
    opening = client.opening(COUNT)
    client.send(opening, *data(opening.stream_id, b"\0\0\0\0\2\x08\x01", end=True))
    got = 0
    while got < BIG:
        frame = await client.wait_for(lambda f: getattr(f, "data", None) and not isinstance(f, HeadersFrame))
        client.seen.clear()
        got += len(frame.data)
        grow = min(60_000, BIG)
        client.send(WindowUpdateFrame(1, window_increment=grow), WindowUpdateFrame(0, window_increment=grow))
    assert (await client.trailers(opening.stream_id))["grpc-status"] == "0"


# --- how many -------------------------------------------------------------------------------------------------------


async def test_connections_beyond_the_cap_are_refused(serve: Any, connect: Any, eventually: Any) -> None:
    server = await serve(max_connections=2)
    first, second = await connect(server.port), await connect(server.port)
    third = await connect(server.port, greet=False)
    assert await third.closed() is None
    assert server.statistics().closed == {"refused": 1}
    assert await first.status(ECHO) == await second.status(ECHO) == 0
    await first.close()
    await eventually(lambda: server.connections == 1)
    assert await (await connect(server.port)).status(ECHO) == 0


async def test_settings_tell_the_limits(serve: Any, connect: Any) -> None:
    client = await connect((await serve(max_streams=7, max_header_bytes=5_000, stream_window_bytes=200_000)).port)
    told = next(frame.settings for frame in client.seen if isinstance(frame, SettingsFrame) and frame.settings)
    names = SettingsFrame
    assert told[names.MAX_CONCURRENT_STREAMS] == 7
    assert told[names.MAX_HEADER_LIST_SIZE] == 5_000
    assert told[names.INITIAL_WINDOW_SIZE] == 200_000


async def test_large_messages_on_one_connection_share_its_window(serve: Any, connect: Any) -> None:
    """A thousand streams with a large message each begun would hold gigabytes."""
    limits = {"max_message_bytes": 300_000, "connection_window_bytes": 600_000, "stream_window_bytes": 100_000}
    client = await connect((await serve(**limits)).port)
    large = [client.start(ECHO) for _ in range(3)]
    for stream_id in large:
        client.send(*data(stream_id, message(b"", size=250_000)))
    assert (await client.trailers(large[2]))["grpc-status"] == "8"
    assert await client.status(ECHO) == 0


async def test_bytes_that_no_handler_read_are_given_back(serve: Any, connect: Any) -> None:
    """Calls that end before they have read their messages must not use up the connection's window."""
    limits = {"max_message_bytes": 65_536, "connection_window_bytes": 70_000, "stream_window_bytes": 65_536}
    client = await connect((await serve(**limits)).port)
    for _ in range(10):
        opening = client.opening("/no/such", end=False)
        client.send(opening, *data(opening.stream_id, bytes(20_000), end=True))
        assert (await client.trailers(opening.stream_id))["grpc-status"] == "12"
        client.connection_window -= 20_000
    assert client.connection_window > 20_000
    assert not any(isinstance(frame, GoAwayFrame) for frame in client.seen)
