"""Draws offers in the terminal: price against latency, throughput as the size of the mark. Pure text, no colour."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

MARKS = "·•●◉"
# Beyond this ratio of the greatest to the least, an axis is logarithmic.
LOG_ABOVE = 20
_LEFT = 10  # columns of the price axis and its labels


@dataclass(frozen=True)
class Point:
    """USD per million tokens, milliseconds to the first token, tokens per second."""

    label: str
    price: float
    latency_ms: float
    throughput_tps: float


@dataclass(frozen=True)
class Axis:
    """Maps values onto `cells` cells, with a little room at both ends."""

    least: float
    most: float
    cells: int
    logarithmic: bool

    def cell(self, value: float) -> int:
        """0 to cells - 1."""
        low, high, at = (self._scaled(v) for v in (self.least, self.most, value))
        share = (at - low) / (high - low)
        return min(self.cells - 1, max(0, round(share * (self.cells - 1))))

    def value(self, cell: int) -> float:
        """What a cell stands for."""
        low, high = self._scaled(self.least), self._scaled(self.most)
        at = low + (high - low) * cell / (self.cells - 1)
        return math.exp(at) if self.logarithmic else at

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.logarithmic else value


def axis(values: Sequence[float], cells: int) -> Axis:
    """An axis that shows every value. They must be 0 or more."""
    least, most = min(values), max(values)
    if least > 0 and most / least > LOG_ABOVE:
        return Axis(least * 0.8, most * 1.25, cells, logarithmic=True)
    room = (most - least) * 0.1 or most * 0.1 or 1.0
    return Axis(max(0.0, least - room), most + room, cells, logarithmic=False)


def draw(points: Sequence[Point], width: int = 80, height: int = 14) -> list[str]:
    """Lines of at most `width` columns: the plot, its axes with labels, and the legend of the marks."""
    if not points:
        return ["(no asks)"]
    columns = max(20, width - _LEFT - 1)
    prices = axis([point.price for point in points], height)
    latencies = axis([point.latency_ms for point in points], columns)
    speeds = sorted(point.throughput_tps for point in points)
    grid = [[" "] * columns for _ in range(height)]
    placed = [(height - 1 - prices.cell(p.price), latencies.cell(p.latency_ms), p) for p in points]
    for row, column, point in placed:
        grid[row][column] = _mark(point.throughput_tps, speeds)
    for row, column, point in placed:
        _label(grid[row], column, point.label)
    body = [f"{_price_label(prices, row, height):>{_LEFT - 2}} ┤{''.join(line)}" for row, line in enumerate(grid)]
    body = [line.rstrip() for line in body]
    return ["USD per million tokens", *body, *_latency_axis(latencies, columns), _legend(speeds)]


def _mark(throughput_tps: float, speeds: Sequence[float]) -> str:
    """The size is the rank among those shown: the slowest the smallest, the fastest the biggest."""
    if speeds[0] == speeds[-1]:
        return MARKS[1]
    share = (throughput_tps - speeds[0]) / (speeds[-1] - speeds[0])
    return MARKS[min(len(MARKS) - 1, int(share * len(MARKS)))]


def _label(line: list[str], column: int, label: str) -> None:
    """Write the label beside its mark where nothing else is in the way; else leave it out."""
    for start in (column + 2, column - 1 - len(label)):
        span = slice(max(0, start - 1), start + len(label) + 1)
        free = start >= 0 and start + len(label) <= len(line)
        if free and all(cell == " " or index + span.start == column for index, cell in enumerate(line[span])):
            line[start : start + len(label)] = label
            return


def _price_label(prices: Axis, row: int, height: int) -> str:
    """A label on every fourth row, counted from the bottom."""
    cell = height - 1 - row
    return _figure(prices.value(cell)) if cell % 4 == 0 else ""


def _latency_axis(latencies: Axis, columns: int) -> list[str]:
    """The ruler below, its labels, and what they are."""
    ruler, labels = ["─"] * columns, [" "] * columns
    for number in range(5):
        cell = number * (columns - 1) // 4
        text = _figure(latencies.value(cell))
        ruler[cell] = "┬"
        start = min(max(0, cell - len(text) // 2), columns - len(text))
        labels[start : start + len(text)] = text
    margin = " " * (_LEFT - 1)
    return [f"{margin}└{''.join(ruler)}", f"{margin} {''.join(labels)}".rstrip(), f"{margin} ms to the first token"]


def _legend(speeds: Sequence[float]) -> str:
    """What the sizes of the marks mean."""
    margin = " " * (_LEFT - 1)
    if speeds[0] == speeds[-1]:
        return f"{margin} {MARKS[1]} {_figure(speeds[0])} tokens/s"
    step = (speeds[-1] - speeds[0]) / len(MARKS)
    parts = [f"{mark} {_figure(speeds[0] + step * number)}+" for number, mark in enumerate(MARKS)]
    return f"{margin} {'  '.join(parts)} tokens/s"


def _figure(value: float) -> str:
    """Three significant places, without an exponent."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if value >= 0.001 or value == 0 else f"{value:.6f}"
