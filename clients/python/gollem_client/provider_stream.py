"""One order's stream from the provider that won it. Every wait is bounded, every failure is a ProviderFailed."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from gollem_client import wire
from gollem_client.channels import ChannelPool, parse_address
from gollem_client.errors import GollemError, InvalidField, ProviderFailed, ProviderUnreachable
from gollem_client.stubs import Chunk, GenerateRequest, GenerateResponse
from gollem_client.timeouts import Timeouts
from gollem_client.tracing import traced

_ROUTE = "/gollem.v1.InferenceService/Generate"


class ProviderStream:
    """Chunks of one generation. Use under `aclosing`: closing tells the provider to stop."""

    def __init__(
        self, pool: ChannelPool, provider_id: str, endpoint: str, request: GenerateRequest, timeouts: Timeouts
    ) -> None:
        self.provider_id = provider_id
        self._endpoint = endpoint
        self._timeouts = timeouts
        self._answers = self._open(pool, endpoint, request)

    async def _open(
        self, pool: ChannelPool, endpoint: str, request: GenerateRequest
    ) -> AsyncGenerator[GenerateResponse, None]:
        try:
            address = parse_address(endpoint)
        except InvalidField as error:
            # The provider's mistake, not the caller's.
            raise ProviderUnreachable(f"its endpoint is not valid: {error.message}") from error
        with pool.lease(address) as channel:
            async with aclosing(wire.server_stream(channel, _ROUTE, request, GenerateResponse, traced({}))) as answers:
                async for answer in answers:
                    yield answer

    async def first(self) -> Chunk:
        """The first chunk that says anything. Raises ProviderFailed: nothing has been delivered."""
        return await self._next(self._timeouts.first_chunk_ms)

    async def following(self) -> Chunk:
        """The next chunk that says anything. Raises ProviderFailed."""
        return await self._next(self._timeouts.idle_ms)

    async def _next(self, timeout_ms: int) -> Chunk:
        """A chunk with text or the last one; a stream without a last one, or one that tells an error, has failed."""
        try:
            with wire.own_errors(f"provider {self.provider_id} at {self._endpoint}", ProviderUnreachable):
                async with asyncio.timeout(timeout_ms / 1_000):
                    chunk = await self._speaking()
        except GollemError as error:
            raise self._failed(error.message, error.reason, error.figures) from error
        if chunk is None:
            raise self._failed("the stream ended without its last chunk", "PROVIDER_FAILED", {})
        if chunk.finish_reason == "error":
            raise self._failed("the model server failed", chunk.error_reason or "PROVIDER_FAILED", {})
        return chunk

    async def _speaking(self) -> Chunk | None:
        async for answer in self._answers:
            if answer.chunk.text or answer.chunk.finish_reason:
                return answer.chunk
        return None

    def _failed(self, message: str, reason: str, figures: dict[str, str]) -> ProviderFailed:
        text = f"provider {self.provider_id}: {message} ({reason})"
        failure = ProviderFailed(text, provider_id=self.provider_id, provider_reason=reason)
        failure.figures = figures | failure.figures
        return failure

    async def aclose(self) -> None:
        await self._answers.aclose()
