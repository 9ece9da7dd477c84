"""Print the best price of every model whenever the order book changes.

GOLLEM_API_KEY=... [GOLLEM_SERVER=127.0.0.1:50051] python watch_book.py
"""

import asyncio
import os
import sys

from gollem_client import GollemClient, GollemError


async def main() -> None:
    server = os.environ.get("GOLLEM_SERVER", "127.0.0.1:50051")
    async with GollemClient(server, api_key=os.environ.get("GOLLEM_API_KEY", "")) as client:
        async for book in client.watch_order_book(interval_ms=1_000):
            for model in book.models:
                print(f"{model.model}: {model.live_asks} asks, best {model.best_price or 'none'}", flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except GollemError as error:
        sys.exit(f"{error.message} ({error.reason})")
    except KeyboardInterrupt:
        sys.exit(130)
