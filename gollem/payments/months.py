"""Days and months of UTC that people name (yyyymmdd, yyyymm), as milliseconds."""

from gollem.clock import DAY_MS, day_begins_ms, utc_day
from gollem.errors import InvalidField


def month_of(at_ms: int) -> str:
    return utc_day(at_ms)[:6]


def month_range_ms(month: str, field: str) -> tuple[int, int]:
    """When the month begins, and when the next one does. Raises InvalidField, which names `field`."""
    begins_ms = begins_at_ms(f"{month}01" if len(month) == 6 else "", field)
    return begins_ms, begins_at_ms(f"{month_of(begins_ms + 31 * DAY_MS)}01", field)


def begins_at_ms(day: str, field: str) -> int:
    """When the day begins. Raises InvalidField, which names `field`."""
    try:
        if not (len(day) == 8 and day.isascii() and day.isdigit() and "1970" <= day < "9999"):
            raise ValueError
        return day_begins_ms(day)
    except ValueError:
        raise InvalidField(field, "must be a day or month of the calendar: yyyymmdd or yyyymm") from None
