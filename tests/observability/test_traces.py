"""One trace from the client over the exchange to the agent and its settlement; none at all unless it is asked for."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiohttp import web
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gollem.config import ConfigError
from gollem.observability import noted, traces
from gollem.rpc.pb import common_pb2, market_pb2
from gollem_client import GollemClient
from gollem_client.tracing import traced
from provider_agent import traces as agent_traces
from provider_agent.agent import Agent
from provider_agent.options import Options
from tests.agents import at_work
from tests.fakes.upstream import fake_upstream
from tests.rpc.conftest import Site, bid, data, ledger_url, site
from tests.until import until

__all__ = ["data", "ledger_url", "site"]  # fixtures

MESSAGES = [common_pb2.ChatMessage(role="user", content="a secret prompt")]


def pytest_asyncio_loop_factories(config: object, item: object) -> dict[str, Callable[[], Any]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def spans() -> Iterator[Callable[[], dict[str, ReadableSpan]]]:
    """By service and name, of the exchange and of the agent; each is written when both are flushed."""
    exchange, agent = InMemorySpanExporter(), InMemorySpanExporter()

    def found() -> dict[str, ReadableSpan]:
        flush()
        told = {f"exchange {span.name.rpartition('/')[2]}": span for span in exchange.get_finished_spans()}
        return told | {f"agent {span.name}": span for span in agent.get_finished_spans()}

    def flush() -> None:
        for room in (traces, agent_traces):
            room._tracer.span_processor.force_flush()

    with traces.tracing("", 100, exchange), agent_traces.tracing("", agent):
        yield found


@pytest.fixture
async def agent(site: Site, tmp_path: Path) -> AsyncIterator[Agent]:
    async with fake_upstream() as upstream:
        options = Options(
            provider_id="p1", model="gpt-4", price="0.001", latency_ms=2_000, throughput_tps=20.0, gpu_type="h100",
            api_key=site.p1["authorization"].removeprefix("Bearer "), exchange=f"127.0.0.1:{site.app.port}",
            upstream=upstream.url, upstream_model="m", state_dir=tmp_path,
        )  # fmt: skip
        async with at_work(Agent(options)) as agent:
            await site.fund()
            yield agent


def is_within(inner: ReadableSpan, outer: ReadableSpan) -> bool:
    assert inner.parent is not None
    return inner.parent.span_id == outer.context.span_id


async def test_a_request_is_one_trace_from_the_client_to_the_settlement(
    site: Site, agent: Agent, spans: Callable[[], dict[str, ReadableSpan]]
) -> None:
    program = TracerProvider().get_tracer("program")
    key = site.alice["authorization"].removeprefix("Bearer ")
    async with GollemClient(f"127.0.0.1:{site.app.port}", api_key=key) as client:
        with program.start_as_current_span("program") as root:
            messages = [{"role": "user", "content": "a secret prompt"}]
            text = [chunk.text async for chunk in client.generate("gpt-4", messages, max_price="0.002", max_tokens=9)]
    assert "".join(text) == "Hello!"
    await until(lambda: "agent settle" in spans() and "exchange settle" in spans())
    found = spans()
    wanted = {"exchange Match", "exchange match", "exchange claim", "exchange hold", "agent generate", "agent stream"}
    assert wanted < set(found)
    mine = [found[name] for name in (*wanted, "agent settle", "exchange Settle", "exchange settle")]
    assert {span.context.trace_id for span in mine} == {root.get_span_context().trace_id}
    assert is_within(found["exchange match"], found["exchange Match"])
    assert is_within(found["exchange claim"], found["exchange match"])
    assert is_within(found["exchange hold"], found["exchange match"])
    assert is_within(found["agent stream"], found["agent generate"])
    assert is_within(found["agent settle"], found["agent generate"])
    assert is_within(found["exchange Settle"], found["agent settle"])
    assert is_within(found["exchange settle"], found["exchange Settle"])
    told = " ".join(str(span.attributes) for span in found.values())
    assert "secret" not in told
    assert key not in told
    assert "alice" not in told


async def test_a_relayed_request_too(site: Site, agent: Agent, spans: Callable[[], dict[str, ReadableSpan]]) -> None:
    request = market_pb2.MarketGenerateRequest(order_id="o1", bid=bid(max_tokens=9), messages=MESSAGES)
    events = await site.market.Generate(request, metadata=site.alice)
    assert events[-1].HasField("receipt")
    await until(lambda: "agent settle" in spans() and "exchange Generate" in spans())
    found = spans()
    assert is_within(found["exchange stream"], found["exchange Generate"])
    assert is_within(found["agent generate"], found["exchange stream"])
    trace = found["exchange Generate"].context.trace_id
    assert {found[name].context.trace_id for name in ("exchange hold", "agent stream", "agent settle")} == {trace}


async def test_nothing_is_made_or_sent_unless_it_is_asked_for() -> None:
    with traces.tracing("", 100), traces.span("match"), traces.call_out("stream") as metadata:
        assert metadata == {}
        assert traced({}) == {}
    assert traces.span("a") is traces.span("b")


async def test_lines_of_the_log_carry_the_trace(spans: Callable[[], dict[str, ReadableSpan]]) -> None:
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    with traces.call_span("call", parent):
        assert noted()["trace_id"] == "a" * 32
    for bad in (None, b"\xff", "nonsense", f"00-{'g' * 32}-{'b' * 16}-01"):
        with traces.call_span("call", bad):
            assert noted()["trace_id"] != "a" * 32


def test_sampling_leaves_the_rest_alone() -> None:
    exporter = InMemorySpanExporter()
    with traces.tracing("", 0, exporter):
        with traces.call_span("call", None):
            pass
        with traces.call_span("traced already", f"00-{'a' * 32}-{'b' * 16}-01"):
            pass
    assert [span.name for span in exporter.get_finished_spans()] == ["traced already"]


async def test_spans_reach_a_collector_over_http() -> None:
    received: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        received.append(await request.read())
        return web.Response(content_type="application/x-protobuf")

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()

    def trace() -> None:
        with traces.tracing(f"http://127.0.0.1:{runner.addresses[0][1]}/v1/traces", 100), traces.span("to be seen"):
            pass

    await asyncio.to_thread(trace)
    await runner.cleanup()
    assert b"to be seen" in b"".join(received)
    assert b"gollem-exchange" in b"".join(received)


def test_without_the_vendor_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError, match=r"gollem\[otel\]"), traces.tracing("http://127.0.0.1:9/v1/traces", 100):
        pass
