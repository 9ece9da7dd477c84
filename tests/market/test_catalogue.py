"""Names are resolved, and whatever is wrong in a file is reported with its key."""

import copy
from pathlib import Path

import pytest

from gollem.errors import InvalidField, UnknownModel
from gollem.market import Catalogue, CatalogueError

TREE = {
    "gpus": {"cpu": {"multiplier": "1.00"}},
    "models": {
        "m": {
            "multiplier": "0.5",
            "context_tokens": 100,
            "price": "0.00001",
            "latency_ms": 2,
            "throughput_tps": 50,
            "aliases": ["n"],
        }
    },
}


def test_the_one_that_comes_with_gollem() -> None:
    catalogue = Catalogue.load()
    assert catalogue.resolve("gpt4") is catalogue.resolve("gpt-4")
    assert catalogue.resolve("gpt-4").multiplier_micro == 2_000_000
    assert catalogue.resolve("gpt-3").multiplier_micro == 1_000_000
    assert catalogue.resolve("smollm2-135m").context_tokens == 8_192
    assert (catalogue.gpu("h100"), catalogue.gpu("a100"), catalogue.gpu("cpu")) == (200, 150, 100)
    for model in catalogue.models:
        assert model.reference.price_ticks >= 1_000, f"{model.name} is too near the tick"


def test_units() -> None:
    model = Catalogue.parse(TREE).resolve("n")
    assert (model.name, model.multiplier_micro) == ("m", 500_000)
    assert model.reference.price_ticks == 1_000
    assert model.reference.latency_us == 2_000
    assert model.reference.tpot_ns == 20_000_000


def test_an_unknown_model_is_told_its_neighbours() -> None:
    with pytest.raises(UnknownModel, match="gpt-oss-120b") as caught:
        Catalogue.load().resolve("gpt-oss-12b")
    assert caught.value.figures == {"model": "gpt-oss-12b"}
    with pytest.raises(UnknownModel, match=r"^there is no model 'zzzzzz'$"):
        Catalogue.load().resolve("zzzzzz")
    with pytest.raises(UnknownModel) as caught:
        Catalogue.load().resolve("x" * 10_000)
    assert len(caught.value.message) < 300


def test_an_unknown_gpu_is_told_the_known() -> None:
    with pytest.raises(InvalidField, match=r"gpu_type: must be one of cpu"):
        Catalogue.parse(TREE).gpu("abacus")


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("gpus", None, "gpus: must be a table with at least one entry"),
        ("gpus.cpu", 3, "gpus.cpu: must be a table"),
        ("gpus.cpu.multiplier", 2.0, "gpus.cpu.multiplier: must be a decimal in quotes, a multiple of 0.01 up to 10"),
        ("gpus.cpu.multiplier", "10.01", "gpus.cpu.multiplier"),
        ("gpus.cpu.multiplier", "0.001", "gpus.cpu.multiplier"),
        ("gpus.cpu.speed", 1, "gpus.cpu.speed: there is no such entry"),
        ("models", {}, "models: must be a table"),
        ("models.m.multiplier", "0", "models.m.multiplier: must be a decimal in quotes, a multiple of 1e-06 up to 100"),
        ("models.m.multiplier", None, "models.m.multiplier"),
        ("models.m.price", "1.00000001", "models.m.price"),
        ("models.m.price", "-1", "models.m.price"),
        ("models.m.context_tokens", True, "models.m.context_tokens: must be a whole number from 2 to 16777215"),
        ("models.m.context_tokens", 2**24, "models.m.context_tokens"),
        ("models.m.latency_ms", 0, "models.m.latency_ms"),
        ("models.m.throughput_tps", "fast", "models.m.throughput_tps"),
        ("models.m.aliases", "n", "models.m.aliases: must be a list of names"),
        ("models.m.aliases", ["m"], "models.m.aliases: 'm' names another model already"),
        ("models.m.color", "red", "models.m.color: there is no such entry"),
        ("prices", {}, "catalogue.prices: there is no such entry"),
        ("models." + "x" * 65, {}, "a name must have 1 to 64 characters"),
    ],
)
def test_a_wrong_entry_is_named(path: str, value: object, told: str) -> None:
    tree = copy.deepcopy(TREE)
    *parents, last = path.split(".")
    table = tree
    for name in parents:
        table = table[name]
    if value is None:
        table.pop(last)
    else:
        table[last] = value
    with pytest.raises(CatalogueError) as caught:
        Catalogue.parse(tree)
    assert told in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"none\.toml: cannot be read"):
        Catalogue.load(tmp_path / "none.toml")
    bad = tmp_path / "bad.toml"
    bad.write_text("[models")
    with pytest.raises(CatalogueError, match=r"bad\.toml: is not TOML"):
        Catalogue.load(bad)
