"""What tests of several rooms share: real servers, started once a session by whoever first needs one."""

from collections.abc import Iterator
from itertools import count

import pytest

from gollem.ledger.dynamodb.ledger import create_dynamodb
from tests.servers.dynamodb_local import CREDENTIALS, dynamodb_local


@pytest.fixture(scope="session")
def dynamodb_endpoint() -> Iterator[str]:
    """A DynamoDB Local, and credentials for it in the environment."""
    with dynamodb_local() as endpoint, pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        yield endpoint


_numbers = count(1)


@pytest.fixture
async def dynamodb_table(dynamodb_endpoint: str) -> str:
    """The URL of an empty ledger on it."""
    url = f"dynamodb://ledger-{next(_numbers)}?endpoint={dynamodb_endpoint}&region=eu-west-1"
    await create_dynamodb(url)
    return url
