"""The agent's own metrics, over HTTP: what it served and earned, its GPUs, and what its model server says of itself."""

from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gollem_client.stubs import GpuStatus
from provider_agent import engine, watch
from provider_agent.agent import Agent
from provider_agent.metering import Outcome, Tokens
from provider_agent.metrics import AgentMetrics, ServingTimes
from provider_agent.options import Options
from provider_agent.pb.inference_grpc import InferenceServiceStub
from tests.agents import at_work
from tests.fakes.exchange import FakeExchange
from tests.fakes.upstream import FakeUpstream
from tests.provider_agent.conftest import make_agent
from tests.provider_agent.test_serving import ask, refusal, settled
from tests.until import until_answer

LLAMA = "# TYPE llamacpp:requests_processing gauge\nllamacpp:requests_processing 3\nllamacpp:secret_thing 1\n"
VLLM = """
vllm:num_requests_running{model_name="m",engine="0"} 2
vllm:num_requests_running{model_name="m",engine="1"} 5
vllm:kv_cache_usage_perc{engine="0"} 0.25
vllm:kv_cache_usage_perc{engine="1"} 0.75
vllm:num_requests_waiting NaN
"""
SGLANG = 'sglang:num_queue_reqs{model_name="m"} 4\nsglang:cache_hit_rate 0.5\n'


@pytest.fixture
async def agent(options: Options, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Agent]:
    """With metrics, and a GPU."""
    monkeypatch.setattr(watch, "ENGINE_S", 0.05)
    agent = make_agent(replace(options, metrics_port=0))
    gpu = GpuStatus(name="H100", utilisation_percent=40, memory_used_bytes=10, memory_total_bytes=80)
    monkeypatch.setattr(agent._gpu_reader, "read", lambda: [gpu])
    async with at_work(agent):
        yield agent


async def get(agent: Agent, path: str = "/metrics") -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"http://127.0.0.1:{agent.metrics_port}{path}") as answer,
    ):
        return answer.status, await answer.text()


async def figure(agent: Agent, name: str, /, **labels: str) -> float | None:
    _, text = await get(agent)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return float(sample.value)
    return None


async def test_what_was_served_refused_and_earned(
    agent: Agent, exchange: FakeExchange, consumer: InferenceServiceStub
) -> None:
    await ask(consumer, exchange.signer.grant(max_completion_tokens=9))
    await settled(exchange)
    await refusal(consumer, exchange.signer.grant(max_completion_tokens=9))
    completed = {"outcome": "completed", "gen_ai_request_model": "m"}
    assert await figure(agent, "gen_ai_server_request_duration_seconds_count", **completed) == 1
    assert await figure(agent, "gen_ai_server_time_to_first_token_seconds_count") == 1
    assert await figure(agent, "gen_ai_server_time_per_output_token_seconds_count") == 1
    assert await figure(agent, "gollem_agent_tokens_total", gen_ai_token_type="input") == 7
    assert await figure(agent, "gollem_agent_tokens_total", gen_ai_token_type="output") == 3
    assert await figure(agent, "gollem_agent_refusals_total", reason="GRANT_USED") == 1

    async def is_settled() -> bool:
        return await figure(agent, "gollem_agent_settlements_total", state="settled") == 1

    await until_answer(is_settled)


async def test_what_it_is_and_its_gpus(agent: Agent) -> None:
    async def has_gpu() -> bool:
        return await figure(agent, "gollem_agent_gpu_utilisation_ratio", gpu="0", name="H100") == 0.4

    await until_answer(has_gpu)
    assert await figure(agent, "gollem_agent_gpu_memory_used_bytes") == 10
    assert await figure(agent, "gollem_agent_gpu_memory_total_bytes") == 80
    assert await figure(agent, "gollem_agent_selling") == 1
    assert await figure(agent, "gollem_agent_slots") == 2
    assert await get(agent, "/healthz") == (200, "ok\n")
    assert (await get(agent, "/readyz"))[0] == 200
    assert (await get(agent, "/x"))[0] == 404


async def test_the_model_servers_own_figures(agent: Agent, upstream: FakeUpstream) -> None:
    assert await figure(agent, "gollem_agent_engine") is None
    upstream.metrics = LLAMA

    async def is_told() -> bool:
        return await figure(agent, "gollem_agent_engine", engine="llamacpp", figure="running_requests") == 3

    await until_answer(is_told)
    assert "secret_thing" not in (await get(agent))[1]
    upstream.metrics = "no { metrics"

    async def is_gone() -> bool:
        return await figure(agent, "gollem_agent_engine") is None

    await until_answer(is_gone)


def test_series_of_one_figure_are_added_up_and_ratios_are_not() -> None:
    assert engine.figures(VLLM) == {("vllm", "running_requests"): 7, ("vllm", "cache_usage_ratio"): 0.75}
    assert engine.figures(SGLANG) == {("sglang", "waiting_requests"): 4, ("sglang", "cache_hit_ratio"): 0.5}


def test_times_are_between_texts() -> None:
    now = iter([10.0, 10.5, 11.0, 12.5, 13.0])
    times, metrics = ServingTimes(lambda: next(now)), AgentMetrics("m")
    for _ in range(3):
        times.text()
    metrics.served(times, Tokens(5, 5), Outcome.COMPLETED)
    metrics.settled("95.95000001")
    text = metrics.render().decode()
    assert 'gen_ai_server_time_to_first_token_seconds_sum{gen_ai_request_model="m"} 0.5\n' in text
    assert 'gen_ai_server_time_per_output_token_seconds_sum{gen_ai_request_model="m"} 0.5\n' in text
    assert 'gen_ai_server_request_duration_seconds_sum{gen_ai_request_model="m",outcome="completed"} 3.0\n' in text
    assert "gollem_agent_earned_credits 95.95000001\n" in text
