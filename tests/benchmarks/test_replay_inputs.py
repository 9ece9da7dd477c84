"""The replay's files: what they say is read exactly, and what cannot be replayed is refused with its place."""

import tomllib
from fractions import Fraction
from pathlib import Path

import pytest

from benchmarks.replay.__main__ import DATA
from benchmarks.replay.inputs import BadInput, ListedPrice, Request, read_asks, read_requests
from benchmarks.replay.listings import listings
from benchmarks.replay.orders import orders
from benchmarks.replay.pricing import GPUS_CENTI, MAX_TICKS, MIN_TICKS, Model, models, ticks
from benchmarks.replay.venue import catalogue
from gollem.market import Catalogue

REQUESTS = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
ASKS = "model,provider,prompt_usd_per_mtok,completion_usd_per_mtok\n"


def write(folder: Path, text: str) -> Path:
    file = folder / "file.csv"
    file.write_text(text)
    return file


def test_our_own_files_are_read_whole() -> None:
    requests, asks = read_requests(DATA / "requests.csv"), read_asks(DATA / "asks.csv")
    assert len(requests) == 19_366
    assert requests[0] == Request(0.0, 374, 44)
    assert requests[-1].at_s > 3_000
    assert len(asks) == 682
    assert asks[0] == ListedPrice("gpt-oss-120b", "wandb", 3_000_000, 17_000_000)


def test_requests_are_taken_by_time(tmp_path: Path) -> None:
    text = REQUESTS + "2024-05-10 00:00:02+00:00,3,3\n2024-05-10 00:00:00,1,1\n\n2024-05-10T00:00:01.5Z,2,2\n"
    read = read_requests(write(tmp_path, text), limit=2)
    assert read == [Request(0.0, 1, 1), Request(1.5, 2, 2)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no column TIMESTAMP, ContextTokens, GeneratedTokens"),
        ("TIMESTAMP,ContextTokens\n1,2\n", "has no column GeneratedTokens"),
        (REQUESTS, "has no rows"),
        (REQUESTS + "2024-05-10 00:00:00,many,1\n", "file.csv:2: ContextTokens: 'many' is not a whole number above 0"),
        (REQUESTS + "2024-05-10 00:00:00,1,-1\n", "file.csv:2: GeneratedTokens: '-1'"),
        (REQUESTS + "2024-05-10 00:00:00,0,1\n", "ContextTokens: '0'"),
        (REQUESTS + "2024-05-10 00:00:00,1\n", "GeneratedTokens: ''"),
        (REQUESTS + "2024-05-10 00:00:00,16777215,1\n", "together above 16,777,215"),
        (REQUESTS + "10/05/24,1,1\n", "TIMESTAMP: '10/05/24' is not a time"),
    ],
)
def test_requests_that_cannot_be_replayed(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_requests(write(tmp_path, text))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ASKS + "m,p,cheap,1\n", "file.csv:2: prompt_usd_per_mtok: 'cheap': must be a decimal"),
        (ASKS + "m,p,1,-1\n", "completion_usd_per_mtok: '-1'"),
        (ASKS + "m,p,0,1\n", "prompt_usd_per_mtok: 0 is not above 0"),
        (ASKS + "m,p,1,100001\n", "at most 100,000 USD a million tokens"),
        (ASKS + ",p,1,1\n", "must not be empty"),
        (ASKS, "has no rows"),
    ],
)
def test_asks_that_cannot_be_replayed(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_asks(write(tmp_path, text))
    assert said in str(caught.value)


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        read_asks(tmp_path / "nothing.csv")
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(BadInput, match="is not CSV"):
        read_asks(tmp_path / "picture.csv")


def test_prices_survive_the_conversion() -> None:
    """Back in USD per million tokens, every price is within 0.05 % of the list's."""
    asks = read_asks(DATA / "asks.csv")
    made = models(asks)
    for ask in asks:
        model = made[ask.model]
        for price_e8 in (ask.prompt_e8, ask.completion_e8):
            for gpu_centi in GPUS_CENTI.values():
                at = ticks(price_e8, model, gpu_centi)
                assert MIN_TICKS <= at <= MAX_TICKS
                back_e8 = Fraction(at * model.multiplier_micro * gpu_centi, 400)
                assert abs(back_e8 / price_e8 - 1) <= Fraction(1, 2_000)


def test_a_price_too_far_above_the_cheapest_is_refused() -> None:
    with pytest.raises(BadInput, match="its dearest price"):
        ticks(10**13, Model("m", 1_000), 100)


def test_the_exchange_takes_the_catalogue() -> None:
    asks = read_asks(DATA / "asks.csv")
    made = models(asks)
    taken = Catalogue.parse(tomllib.loads(catalogue(made, listings(asks, made, seed=1))))
    assert {model.name: model.multiplier_micro for model in taken.models} == {
        name: model.multiplier_micro for name, model in made.items()
    }
    assert taken.gpus == GPUS_CENTI


def test_what_is_drawn_depends_on_the_seed_alone() -> None:
    asks = read_asks(DATA / "asks.csv")
    made = models(asks)
    requests = read_requests(DATA / "requests.csv", limit=50)

    def draw(seed: int) -> list[str]:
        listed = listings(asks, made, seed)
        return [*map(str, listed), *map(str, orders(requests, listed, 4, seed))]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
