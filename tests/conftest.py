"""What tests of several rooms share: real servers, started once a session by whoever first needs one."""

from collections.abc import Iterator

import pytest

from tests.servers.dynamodb_local import CREDENTIALS, dynamodb_local


@pytest.fixture(scope="session")
def dynamodb_endpoint() -> Iterator[str]:
    """A DynamoDB Local, and credentials for it in the environment."""
    with dynamodb_local() as endpoint, pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        yield endpoint
