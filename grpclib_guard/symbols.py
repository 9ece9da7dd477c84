"""The descriptor pool as reflection needs it: methods are symbols too, which the pool of C does not find."""

from typing import Any

from google.protobuf.descriptor_pool import Default


class Symbols:
    """The default pool, in which `pkg.Service.Method` is found like everything else. So can grpcurl describe it."""

    def __init__(self) -> None:
        self._pool: Any = Default()

    def FindFileContainingSymbol(self, symbol: str) -> Any:  # the pool's own name
        """Raises KeyError, as the pool does."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindMethodByName(symbol).containing_service.file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)
