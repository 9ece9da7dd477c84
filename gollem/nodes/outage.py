"""Whether a partition of the shared book can be asked: pure, times are monotonic milliseconds."""


class Outage:
    """Begins with the first failure, ends with the first success. While it lasts, one caller at a time tries again."""

    def __init__(self, retry_ms: int, limit_ms: int) -> None:
        """`retry_ms`: pause between tries. `limit_ms`: how long a node may decide alone."""
        self._retry_ms = retry_ms
        self._limit_ms = limit_ms
        self._began_ms: int | None = None
        self._tried_ms = 0

    @property
    def is_on(self) -> bool:
        return self._began_ms is not None

    def failed(self, now_ms: int) -> None:
        if self._began_ms is None:
            self._began_ms = now_ms
        self._tried_ms = now_ms

    def succeeded(self) -> None:
        self._began_ms = None

    def may_try(self, now_ms: int) -> bool:
        """Whether this caller is to ask. During an outage a yes puts the next callers off for a while."""
        if self._began_ms is None:
            return True
        if now_ms - self._tried_ms < self._retry_ms:
            return False
        self._tried_ms = now_ms
        return True

    def is_too_long(self, now_ms: int) -> bool:
        """Whether what this node knows is too old to decide by."""
        return self._began_ms is not None and now_ms - self._began_ms >= self._limit_ms
