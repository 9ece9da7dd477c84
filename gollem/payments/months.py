"""Days and months of UTC, by their names (yyyymmdd, yyyymm), as milliseconds."""

from datetime import UTC, datetime

from gollem.errors import InvalidField

DAY_MS = 86_400_000


def month_of(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1_000, UTC).strftime("%Y%m")


def month_range_ms(month: str, field: str) -> tuple[int, int]:
    """When the month begins, and when the next one does. Raises InvalidField, which names `field`."""
    start_ms = day_start_ms(f"{month}01" if len(month) == 6 else "", field)
    next_month = month_of(start_ms + 31 * DAY_MS)
    return start_ms, day_start_ms(f"{next_month}01", field)


def day_start_ms(day: str, field: str) -> int:
    """When the day begins. Raises InvalidField, which names `field`."""
    try:
        if not (len(day) == 8 and day.isascii() and day.isdigit() and "1970" <= day < "9999"):
            raise ValueError
        start = datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        raise InvalidField(field, "must be a day or month of the calendar: yyyymmdd or yyyymm") from None
    return int(start.timestamp()) * 1_000
