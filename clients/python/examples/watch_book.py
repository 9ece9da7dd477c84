"""Print the best price of every model whenever the order book changes.

GOLLEM_API_KEY=... python watch_book.py
"""

import asyncio
import os

from gollem_client import GollemClient


async def main() -> None:
    async with GollemClient("127.0.0.1:50051", api_key=os.environ["GOLLEM_API_KEY"]) as client:
        async for book in client.watch_order_book(interval_ms=1_000):
            for model in book.models:
                print(f"{model.model}: {model.live_asks} asks, best {model.best_price or 'none'}")


if __name__ == "__main__":
    asyncio.run(main())
