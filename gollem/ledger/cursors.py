"""Cursors of statements, for stores whose journal has one sequence: the number of the leg, in digits."""

from gollem.errors import InvalidField

_NEWEST = 2**63 - 1


def cursor_of(leg_number: int) -> str:
    return str(leg_number)


def parse_cursor(cursor: str) -> int:
    """The number that the page ends before; above every leg's if there is no cursor. Raises InvalidField."""
    if not cursor:
        return _NEWEST
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise InvalidField("page_token", "must be the next_page_token of the page before")
    return int(cursor)
