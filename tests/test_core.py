"""The compiled core by itself: its bounds, its handles, its memory, and arithmetic at the limits."""

import random
from array import array

import pytest

from gollem import _core
from gollem._core import NO_LIMIT, Book, OutOfRange, Query
from gollem.market import types

ANY = (0, 0, 0)
ASK = {
    "provider": 0,
    "price_ticks": 10,
    "completion_price_ticks": 10,
    "reserve_units": 0,
    "latency_us": 1_000,
    "tpot_ns": 1_000,
    "capacity_tokens": 1_000,
    "capacity_slots": 10,
}
STATE = ("latency_us", "tpot_ns", "capacity_tokens", "capacity_slots")


def query(
    partitions=(0,), prompt=5, completion=5, cost=ANY, latency=ANY, tpot=ANY, price_max=NO_LIMIT, cost_max=NO_LIMIT
) -> Query:
    return Query(
        partitions,
        prompt,
        completion,
        prompt + completion,
        price_max,
        cost_max,
        NO_LIMIT,
        NO_LIMIT,
        (*cost, *latency, *tpot),
    )


def book(gpu_centi: int = 100) -> Book:
    fresh = Book()
    assert fresh.partition(gpu_centi) == 0
    return fresh


def column(values) -> array:
    return array("q", values)


def ones(n: int) -> array:
    return column([1] * n)


def test_the_bounds_are_those_of_the_market() -> None:
    names = [name for name in dir(types) if name.startswith("MAX_") and hasattr(_core, name)]
    assert len(names) >= 6
    assert {name: getattr(types, name) for name in names} == {name: getattr(_core, name) for name in names}


@pytest.mark.parametrize(
    ("field", "least", "most"),
    [
        ("price_ticks", 1, 10**8),
        ("completion_price_ticks", 1, 10**8),
        ("reserve_units", 0, 2**37),
        ("latency_us", 1, 3_600_000_000),
        ("tpot_ns", 1, 10**13),
        ("capacity_tokens", 0, 10**12),
        ("capacity_slots", 0, 65_536),
    ],
)
def test_an_ask_out_of_bounds_is_refused_and_changes_nothing(field: str, least: int, most: int) -> None:
    b = book()
    for value in (least, most):
        b.add(0, **ASK | {field: value})
    before = len(b), b.memory_bytes()
    for value in (least - 1, most + 1, -(2**62), 2**62):
        with pytest.raises(OutOfRange, match=f"^{field}: must be {least} to {most}, not {value}$"):
            b.add(0, **ASK | {field: value})
    with pytest.raises(OverflowError):
        b.add(0, **ASK | {field: 2**64})
    assert (len(b), b.memory_bytes()) == before


@pytest.mark.parametrize("column_at", range(4))
def test_a_batch_with_one_bad_figure_changes_nothing(column_at: int) -> None:
    b = book()
    handles = [b.add(0, **ASK) for _ in range(100)]
    before = [b.state(handle) for handle in handles]
    columns = [[500] * 100 for _ in range(4)]
    columns[column_at][97] = -1
    with pytest.raises(OutOfRange, match=STATE[column_at]):
        b.update(column(handles), *map(column, columns))
    assert [b.state(handle) for handle in handles] == before
    with pytest.raises(OutOfRange, match="one length"):
        b.update(column(handles), column([5]), *[column([5] * 100)] * 3)


def test_a_batch_applies_each_row_to_its_handle() -> None:
    b = book()
    handles = [b.add(0, **ASK) for _ in range(200)]
    stale = handles.pop(50)
    b.remove(stale)
    order = random.Random(3).sample(range(199), 199)
    rows = [(i + 1, i + 2, i + 3, i % 7) for i in order]
    listed = column([*[handles[i] for i in order], stale, -1, 2**62])
    extra = [(9, 9, 9, 9)] * 3
    assert b.update(listed, *[column(values) for values in zip(*rows, *extra, strict=True)]) == 199
    for i in range(199):
        assert b.state(handles[i])[:4] == (i + 1, i + 2, i + 3, i % 7)
    assert b.update(*[column([])] * 5) == 0


def test_a_query_out_of_bounds_is_refused() -> None:
    for bad in (
        {"prompt": -1},
        {"prompt": 2**24 - 1},
        {"prompt": 0, "completion": 0},
        {"price_max": -1},
        {"cost_max": NO_LIMIT + 1},
        {"cost": (2**61, 2, 0)},
        {"cost": (-1, 1, 0)},
        {"tpot": (1, 1, 63)},
        {"partitions": tuple(range(65))},
        {"partitions": (-1,)},
    ):
        with pytest.raises(OutOfRange):
            query(**bad)
    for call in (Book().match, lambda q: Book().front(q, True, 1), lambda q: Book().census(q, (0,))):
        with pytest.raises(OutOfRange, match="partitions"):
            call(query())


def test_the_greatest_figures_do_not_wrap() -> None:
    """10^8 ticks, 2^24 - 1 tokens, a GPU of 10.00: compared exactly, one unit apart."""
    b = book(gpu_centi=1_000)
    great = {"price_ticks": 10**8, "latency_us": 3_600_000_000, "tpot_ns": 10**13, "capacity_tokens": 10**12}
    dear = b.add(0, **ASK | great | {"completion_price_ticks": 10**8})
    less = b.add(0, **ASK | great | {"completion_price_ticks": 10**8 - 1})
    bid = {"prompt": 2**24 - 2, "completion": 1, "cost": (2**61, 1, 0)}
    units = 10**8 * (2**24 - 1) * 1_000
    assert b.match(query(**bid)) == (less, units - 1_000, 3_600_000_000, 10**13)
    assert b.census(query(**bid, cost_max=units - 1), (0,))[:2] == (2, 1)
    assert b.match(query(**bid, cost_max=units - 1))[0] == less
    saturated = query(**bid | {"cost": (4, 2**59, 0), "latency": (2**61, 1, 0), "tpot": (2, 2**60, 0)})
    assert b.front(saturated, True, 9)[1][0][0] == less
    b.remove(less)
    assert b.match(saturated)[0] == dear


def test_a_reserve_that_is_just_met() -> None:
    b = book(gpu_centi=200)
    handle = b.add(0, **ASK | {"reserve_units": 2_000})
    assert b.match(query())[0] == handle
    b.change(handle, *[(ASK | {"reserve_units": 2_001})[name] for name in list(ASK)[1:]])
    assert b.match(query()) is None
    b.change(handle, *[(ASK | {"reserve_units": 2**37})[name] for name in list(ASK)[1:]])
    assert b.match(query(prompt=2**24 - 2, completion=1)) is None


def test_a_stale_handle_names_nothing() -> None:
    b = book()
    old = b.add(0, **ASK)
    assert b.remove(old)
    new = b.add(0, **ASK)
    assert new != old
    assert new & 0xFFFFFFFF == old & 0xFFFFFFFF, "the slot is used again"
    before = b.state(new)
    for handle in (old, -1, -(2**63), 2**63 - 1, new + 1, new + 2**32):
        assert not b.remove(handle)
        assert not b.claim(handle, 1)
        assert not b.set_blocks(handle, 1)
        assert not b.change(handle, *list(ASK.values())[1:])
        assert b.state(handle) is None
    assert b.state(new) == before
    assert len(b) == 1


def test_claims_may_go_below_zero_and_come_back() -> None:
    b = book()
    handle = b.add(0, **ASK | {"capacity_slots": 1, "capacity_tokens": 10})
    for _ in range(3):
        assert b.claim(handle, 10)
    assert b.state(handle)[2:6] == (-20, -2, 30, 3)
    assert b.match(query()) is None
    for _ in range(5):
        assert b.claim(handle, -10, -1)
    assert b.state(handle)[2:6] == (10, 1, 0, 0)
    assert b.match(query())[0] == handle
    with pytest.raises(OutOfRange):
        b.claim(handle, 2**60 + 1)
    assert b.claim(handle, 2**60 - 10)
    with pytest.raises(OutOfRange, match="claimed tokens"):
        b.claim(handle, 1)


def test_memory_is_flat_under_churn() -> None:
    """5 * 10^5 updates at a constant number of asks leave memory where it was: pages merge as fast as they split."""
    b = Book()
    partitions = [b.partition(100 + i) for i in range(3)]
    random_ = random.Random(5)
    bid = query(partitions=(0, 1, 2), cost=(2**61, 1, 0))

    def fresh() -> int:
        return b.add(random_.choice(partitions), *(ASK | {"price_ticks": random_.randrange(1, 100)}).values())

    handles = [fresh() for _ in range(5_000)]
    peak = 0
    for turn in range(100):
        for i in random_.sample(range(5_000), 2_500):
            assert b.remove(handles[i])
            handles[i] = fresh()
        b.update(column(handles), *[column(random_.choices(range(1, 10**6), k=5_000)) for _ in range(3)], ones(5_000))
        b.match(bid)
        if turn == 10:
            peak = b.memory_bytes()
    b.check()
    assert len(b) == 5_000
    assert b.memory_bytes() <= peak * 1.05
    assert b.memory_bytes() / 5_000 < 130
    for handle in handles:
        assert b.remove(handle)
    assert len(b) == 0
    assert b.memory_bytes() <= peak * 1.05
    assert b.match(query(partitions=(0, 1, 2))) is None


def test_boxes_tighten_again() -> None:
    """An ask that was best for a moment must not hide that its page cannot win any more, nor hide others."""
    b = book()
    cheap = (2**61, 1, 0)
    handles = [b.add(0, **ASK | {"price_ticks": 100 + i}) for i in range(256)]
    for i in reversed(range(256)):
        b.change(handles[i], 1, *list(ASK.values())[2:])
        assert b.match(query(cost=cheap))[0] == handles[i]
        b.set_blocks(handles[i], 1)
        b.change(handles[i], 1_000, *list(ASK.values())[2:])
        b.set_blocks(handles[i], 0)
    assert b.match(query(cost=cheap))[0] == handles[0], "all alike: the oldest"


def test_an_ask_that_takes_the_place_of_another_is_found_there_with_its_claims() -> None:
    """The last of a partition fills the gap: its new page must cover it, and its claims move along."""
    b = book()
    dear = [b.add(0, **ASK | {"price_ticks": 100}) for _ in range(64)]
    for _ in range(64):
        b.add(0, **ASK | {"price_ticks": 50})
    cheap = b.add(0, **ASK | {"price_ticks": 1, "reserve_units": 550})
    b.claim(cheap, 7, 2)
    assert b.remove(dear[10])
    assert b.state(cheap) == (1_000, 1_000, 993, 8, 7, 2, 0)
    assert b.match(query(cost=(2**61, 1, 0)))[0] == cheap
    assert b.match(query(cost=(2**61, 1, 0), prompt=6, completion=4))[0] != cheap, "its reserve is kept"
    b.claim(cheap, -17, -3)
    assert b.state(cheap)[2:6] == (1_000, 10, 0, 0)


def test_an_ask_that_becomes_available_is_found_at_once() -> None:
    """By telemetry, by a release, by the end of a block, or by being new: its page looked too dear before."""
    b = book()
    cheap = b.add(0, **ASK | {"price_ticks": 2, "capacity_slots": 0})
    for price in (100, 50, 100):
        for _ in range(64):
            b.add(0, **ASK | {"price_ticks": price})
    best = query(cost=(2**61, 1, 0))

    def found() -> int:
        b.match(best)
        return b.match(best)[0]

    assert found() != cheap
    b.update(column([cheap]), *map(column, ([1_000], [1_000], [1_000], [3])))
    assert found() == cheap
    b.claim(cheap, 10)
    assert found() != cheap
    b.claim(cheap, -30, -3)
    assert found() == cheap
    b.set_blocks(cheap, 4)
    assert found() != cheap
    b.set_blocks(cheap, 0)
    b.claim(cheap, -30, -3)
    assert found() == cheap
    new = b.add(0, **ASK | {"price_ticks": 1})
    assert found() == new
