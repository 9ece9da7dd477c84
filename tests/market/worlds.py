"""What the market's tests draw from: a small catalogue, asks and bids that meet, tie and just miss each other."""

from hypothesis import strategies as st

from gollem.market import Catalogue
from gollem.market.types import Ask, Bid, Block, Policy, Weights

CATALOGUE = Catalogue.parse(
    {
        "gpus": {name: {"multiplier": text} for name, text in (("cpu", "1.00"), ("a100", "1.50"), ("h100", "2.00"))},
        "models": {
            name: {
                "multiplier": multiplier,
                "context_tokens": 8_192,
                "price": "0.00000010",
                "latency_ms": 1,
                "throughput_tps": 1_000_000,
                "aliases": [name + "-alias"],
            }
            for name, multiplier in (("big", "2.00"), ("small", "0.0123"))
        },
    }
)

# Mostly one model on one GPU type, so that asks share a partition.
MODELS = st.sampled_from(["big", "big", "big", "small"])
GPUS = st.sampled_from(["cpu", "cpu", "a100", "h100"])
PROVIDERS = st.sampled_from([f"p{i}" for i in range(6)])
# Few distinct values make ties; the great ones reach the bounds.
PRICES = st.sampled_from([1, 2, 3, 4, 6, 9, 10, 20, 10**8])
LATENCIES = st.sampled_from([1, 500, 1_000, 1_500, 2_000, 900_000, 3_600_000_000])
TPOTS = st.sampled_from([1, 500, 1_000, 2_000, 3_000, 10**13])
TOKENS = st.sampled_from([0, 1, 2, 7, 10, 20, 100, 2**24 - 1, 10**12])
SLOTS = st.sampled_from([0, 1, 2, 3, 65_536])
PARTS = st.sampled_from([1, 2, 3, 5, 7, 10])

ASKS = st.builds(
    Ask,
    provider_id=PROVIDERS,
    ask_id=st.sampled_from([f"a{i}" for i in range(8)]),
    model=MODELS,
    gpu_type=GPUS,
    price_ticks=PRICES,
    completion_price_ticks=PRICES,
    credit_rate_atoms=st.sampled_from([0, 0, 0, 1, 2, 3, 100, 10_000]),
    latency_us=LATENCIES,
    tpot_ns=TPOTS,
    capacity_tokens=TOKENS,
    capacity_slots=SLOTS,
    endpoint=st.just("127.0.0.1:1"),
)


def maybe(values: st.SearchStrategy[int]) -> st.SearchStrategy[int | None]:
    return st.none() | values


BIDS = st.builds(
    Bid,
    model=MODELS,
    prompt_tokens=PARTS | st.just(2**23),
    max_tokens=PARTS | st.just(2**23 - 1),
    max_price_ticks=maybe(PRICES | st.integers(0, 12)),
    max_cost_atoms=maybe(st.integers(0, 3) | st.integers(0, 40).map(lambda n: n * 10) | st.just(2**63)),
    max_latency_us=maybe(LATENCIES),
    max_tpot_ns=maybe(TPOTS),
    gpu_types=st.lists(GPUS, max_size=2).map(tuple),
    only_providers=st.just(()) | st.lists(PROVIDERS, max_size=4).map(tuple),
    exclude_providers=st.just(()) | st.lists(PROVIDERS, max_size=3).map(tuple),
    policy=st.sampled_from(Policy),
    weights=st.tuples(*[st.sampled_from([0, 1, 2, 1_000])] * 3).filter(any).map(lambda three: Weights(*three)),
)

BLOCKS = st.sampled_from(Block)


# Of a report, without its key: latency, time per token, whether measured, tokens, slots.
Figures = tuple[int, int, bool, int, int]
FIGURES = st.tuples(LATENCIES, TPOTS, st.booleans(), TOKENS, SLOTS)
