"""The front's drawing: every mark where it belongs, within the width, with axes that can be read."""

import pytest

from gollem.cli.scatter import MARKS, Point, axis, draw

FRONT = [
    Point("thrifty", 0.02, 900, 20),
    Point("steady", 0.06, 300, 60),
    Point("swift", 0.11, 80, 140),
]


def at(lines: list[str], label: str) -> tuple[int, int]:
    """Row and column of a label."""
    return next((row, line.index(label)) for row, line in enumerate(lines) if label in line)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_fits_the_width(width: int) -> None:
    assert max(map(len, draw(FRONT, width))) <= width


def test_cheaper_is_lower_and_slower_is_further_right() -> None:
    lines = draw(FRONT)
    thrifty, steady, swift = (at(lines, point.label) for point in FRONT)
    assert thrifty[0] > steady[0] > swift[0]
    assert thrifty[1] > steady[1] > swift[1]


def test_more_throughput_is_a_bigger_mark() -> None:
    text = "\n".join(draw(FRONT)[:-1])
    assert f"{MARKS[3]} swift" in text
    assert f"{MARKS[1]} steady" in text
    assert MARKS[0] in text


def test_axes_say_what_they_are() -> None:
    lines = draw(FRONT)
    assert "USD per million tokens" in lines[0]
    assert "ms to the first token" in lines[-2]
    assert "tokens/s" in lines[-1]


def test_labels_that_would_collide_are_left_out_but_not_their_marks() -> None:
    crowd = [Point(f"provider-number-{n}", 1.0, 100 + n, 50) for n in range(60)] + [Point("far", 9.0, 900, 50)]
    body = draw(crowd, 60)[1:-4]
    assert max(map(len, body)) <= 60
    assert sum(line.count(MARKS[1]) for line in body) >= 2


@pytest.mark.parametrize("point", [Point("one", 0.5, 10, 5), Point("free", 0.0, 0.0, 0.0)])
def test_one_point_alone_can_be_drawn(point: Point) -> None:
    assert any(point.label in line for line in draw([point]))


def test_no_point_is_said_in_words() -> None:
    assert draw([]) == ["(no asks)"]


def test_far_values_take_a_logarithmic_axis_and_near_ones_a_linear() -> None:
    assert axis([1, 10_000], 80).logarithmic
    assert not axis([1, 2], 80).logarithmic
    assert not axis([0, 10_000], 80).logarithmic


@pytest.mark.parametrize("values", [[1.0, 10_000.0], [3.0, 4.0], [0.0, 5.0]])
def test_a_cell_stands_for_the_values_in_it(values: list[float]) -> None:
    made = axis(values, 50)
    for cell in range(50):
        assert made.cell(made.value(cell)) == cell
