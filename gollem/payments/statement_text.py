"""A statement as CSV for a spreadsheet, and as one page of HTML to print. Amounts are exact, in USD."""

import csv
from collections.abc import Iterator
from html import escape
from io import StringIO

from gollem.clock import utc_day
from gollem.payments.statement import Statement
from gollem.units import format_usd

_HEAD = ("date", "what", "reference", "orders", "gross_usd", "fee_usd", "amount_usd", "balance_usd", "matured_usd")
_STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 60em; color: #111; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .3em .6em; border-bottom: 1px solid #ccc; text-align: left; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
tr.sum td { font-weight: bold; }
@media print { body { margin: 0; max-width: none; font-size: 10pt; } thead { display: table-header-group; }
  tr { break-inside: avoid; } @page { margin: 15mm; } }
"""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBERS_FROM = _HEAD.index("orders")


def as_csv(statement: Statement) -> str:
    """A line each, with its heading; lines end in CR LF. No cell of text can be a formula."""
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(_HEAD)
    for row in _rows(statement):
        writer.writerow([*map(_harmless, row[:_NUMBERS_FROM]), *row[_NUMBERS_FROM:]])
    return text.getvalue()


def as_html(statement: Statement) -> str:
    """A page that needs nothing else and runs nothing; a browser prints it, or makes a PDF of it."""
    title = f"Earnings of {statement.provider}, {statement.month[:4]}-{statement.month[4:]}"
    head = "".join(_cell("th", place, name.replace("_usd", " (USD)")) for place, name in enumerate(_HEAD))
    body = "\n".join(_html_row(row) for row in _rows(statement))
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style></head><body>
<h1>{escape(title)}</h1>
<p>Days are UTC. The balance is what was earned and not paid out, less what is owed. "Matured" is what became payable on
the day; it moves nothing. 1 credit is 0.001 USD.</p>
<table><thead><tr>{head}</tr></thead><tbody>
{body}
</tbody></table></body></html>
"""


def _rows(statement: Statement) -> Iterator[tuple[str, ...]]:
    """Opening, everything in the order of its days, closing."""
    balance_atoms = statement.opening_atoms
    yield ("", "opening balance", "", "", "", "", "", format_usd(balance_atoms), "")
    lines = [(day.day, 0, index, day.net_atoms) for index, day in enumerate(statement.days)]
    lines += [(utc_day(moved.at_ms), 1, index, moved.atoms) for index, moved in enumerate(statement.moved)]
    for day, is_moved, index, atoms in sorted(lines):
        balance_atoms += atoms
        date, sums = f"{day[:4]}-{day[4:6]}-{day[6:]}", (format_usd(atoms), format_usd(balance_atoms))
        if is_moved:
            moved = statement.moved[index]
            yield (date, moved.kind.replace("_", " "), moved.reference, "", "", "", *sums, "")
        else:
            earned = statement.days[index]
            figures = (str(earned.orders), _usd(earned.gross_atoms), _usd(earned.fee_atoms))
            yield (date, "earned", "", *figures, *sums, _usd(earned.matured_atoms))
    yield ("", "closing balance", "", "", "", "", "", format_usd(statement.closing_atoms), "")


def _usd(atoms: int | None) -> str:
    return "" if atoms is None else format_usd(atoms)


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _html_row(row: tuple[str, ...]) -> str:
    is_sum = ' class="sum"' if row[1].endswith("balance") else ""
    return f"<tr{is_sum}>" + "".join(_cell("td", place, text) for place, text in enumerate(row)) + "</tr>"


def _cell(tag: str, place: int, text: str) -> str:
    is_number = ' class="n"' if place >= _NUMBERS_FROM else ""
    return f"<{tag}{is_number}>{escape(text)}</{tag}>"
