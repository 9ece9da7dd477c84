"""Changes survive their way as text, and what cannot be read is passed over and counted."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gollem.nodes import (
    Began,
    CancelAsked,
    Change,
    Contested,
    Ended,
    Ending,
    FailureReported,
    FailureRetracted,
    Removed,
    Sampled,
    Sent,
    Spent,
    wire,
)
from tests.nodes.samples import MODEL, heard, placed

KEY = "provider-1/ask"
CHANGES: list[Change] = [
    placed(1),
    replace(placed(2), per_minute=60),
    heard(1, sequence=7),
    Removed(KEY, MODEL),
    Sampled(KEY, MODEL, 100, None),
    Sampled(KEY, MODEL, 100, 200),
    Sent(KEY, MODEL, "order", 300),
    *(Ended(KEY, MODEL, "order", ending) for ending in Ending),
    FailureReported(KEY, MODEL, "order"),
    FailureRetracted(KEY, MODEL, "order"),
    Began(KEY, MODEL, "order"),
    CancelAsked(KEY, MODEL, "order"),
    Contested(KEY, MODEL, "alice"),
    Spent("alice", 30, 40),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: type(change).__name__)
def test_a_change_comes_as_it_was(change: Change) -> None:
    text = wire.batch("alpha~1", [wire.encode(change)])
    assert wire.decode(text, age_ms=0) == wire.Batch("alpha~1", (change,))


def test_a_change_ages_on_its_way() -> None:
    old = replace(heard(1), age_ms=30)
    text = wire.batch("alpha", [wire.encode(old), wire.encode(placed(1))])
    assert [change.age_ms for change in wire.decode(text, age_ms=12).changes] == [42, 12]  # type: ignore[union-attr]


def test_parts_that_are_added_later_are_passed_over() -> None:
    text = '[1,"alpha",[["removed","p/a","m","because",{"of":1}]],"more"]'
    assert wire.decode(text, 0) == wire.Batch("alpha", (Removed("p/a", "m"),))


def test_fields_that_are_added_to_an_ask_are_passed_over() -> None:
    text = wire.batch("alpha", [wire.encode(placed(1)).replace('{"provider_id"', '{"colour":"red","provider_id"')])
    assert wire.decode(text, 0).changes == (placed(1),)


@pytest.mark.parametrize(
    "item", ['["blessed","p/a"]', '["removed"]', '["ended","p/a","m","o","evaporated"]', "[]", "7"]
)
def test_a_change_that_cannot_be_read_spares_the_others(item: str) -> None:
    text = wire.batch("alpha", [item, wire.encode(placed(1))])
    assert wire.decode(text, 0) == wire.Batch("alpha", (placed(1),), passed_over=1)


def test_another_form_is_passed_over_whole() -> None:
    text = wire.batch("alpha", [wire.encode(placed(1))]).replace("[1,", "[2,", 1)
    assert wire.decode(text, 0) == wire.Batch("", (), passed_over=1)


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(str))
def test_no_text_is_fatal(text: str) -> None:
    assert wire.decode(text, 0).changes == ()
