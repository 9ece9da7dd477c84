"""Stream one answer under hard limits, and show what it cost.

GOLLEM_API_KEY=... [GOLLEM_SERVER=127.0.0.1:50051] python generate.py "Tell me about foxes"
"""

import asyncio
import os
import sys

from gollem_client import GollemClient, GollemError, errors


async def main(prompt: str) -> None:
    server = os.environ.get("GOLLEM_SERVER", "127.0.0.1:50051")
    async with GollemClient(server, api_key=os.environ.get("GOLLEM_API_KEY", "")) as client:
        stream = client.generate(
            "smollm2-135m",
            [{"role": "user", "content": prompt}],
            max_price="0.002",
            max_latency_ms=30_000,
            max_tokens=64,
        )
        async for chunk in stream:
            print(chunk.text, end="", flush=True)
        print()
        if stream.match and stream.measured:
            print(f"from {stream.match.offer.provider_id}, first token after {stream.measured.ttft_ms:.0f} ms")
        if stream.receipt:
            print(f"held {stream.receipt.held}, charged {stream.receipt.charged}, refunded {stream.receipt.refunded}")


if __name__ == "__main__":
    try:
        asyncio.run(main(" ".join(sys.argv[1:]) or "Say hello"))
    except errors.NoFeasibleAsk as refusal:
        sys.exit(f"nobody meets these limits: {refusal.excluded_by}")
    except GollemError as error:
        sys.exit(f"{error.message} ({error.reason})")
    except KeyboardInterrupt:
        sys.exit(130)
