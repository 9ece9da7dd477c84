"""A process that posts one order's life to DynamoDB and dies at the place it is told: before or after its n-th call."""

import asyncio
import os
import sys

from gollem.ledger import rules
from gollem.ledger.dynamodb.ledger import open_dynamodb
from tests.contracts.samples import NOW_MS, granting, hold_of, opening


async def main(url: str, place: int) -> None:
    ledger = await open_dynamodb(url)
    passed = 0

    async def die(**_: object) -> None:
        nonlocal passed
        if passed == place:
            os.kill(os.getpid(), 9)
        passed += 1

    ledger.client.events.register("before-call.dynamodb.TransactWriteItems", die)
    ledger.client.events.register("after-call.dynamodb.TransactWriteItems", die)
    hold = hold_of()
    for transaction in (granting(100), opening(hold), rules.settle(hold, 60, 3, NOW_MS)):
        await ledger.post(transaction)
        print(transaction.key, flush=True)  # acknowledged
    await ledger.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
