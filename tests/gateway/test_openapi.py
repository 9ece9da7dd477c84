"""The OpenAPI document is what is served, and what it allows is answered as it says: schemathesis tries.

EXAMPLES=n tries n requests a route instead of a few, and every bound and type of every field beside them.
"""

import asyncio
import os
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from schemathesis.checks import CheckContext
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gollem.identity import Role, open_key_store
from tests.interop.tools import REPOSITORY
from tests.servers.gateway import Gateway

IS_THOROUGH = "EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("EXAMPLES", "6"))
DOCUMENT = REPOSITORY / "gollem" / "gateway" / "openapi.json"
CHECKS: list[Any] = [content_type_conformance, response_schema_conformance, status_code_conformance]
# What a route may answer where something that it needs is not there.
ABSENT = {501: {"PAYMENTS_OFF"}, 503: {"PROVIDER_FAILED"}}
# The others are for whoever buys, or anybody.
SOLD = ("/api/payouts", "/api/provider/status")

document = schemathesis.openapi.from_path(DOCUMENT)
document.config.phases.coverage.enabled = IS_THOROUGH


@pytest.fixture(scope="module")
def keys(place: Gateway) -> dict[str, str]:
    """A header for each role."""

    async def make() -> dict[str, str]:
        store = await open_key_store(place.data)
        made = {role: await store.create(f"fuzz-{role}", role) for role in (Role.CONSUMER, Role.PROVIDER)}
        await store.close()
        return {role.value: f"Bearer {key.secret}" for role, key in made.items()}

    return asyncio.run(make())


def no_fault(_context: CheckContext, answer: Response, _case: schemathesis.Case) -> None:
    """Whatever comes in, it is the caller's fault or that of somebody who is named."""
    if answer.status_code >= 500:
        reason = answer.json()["details"][0]["reason"]
        assert reason in ABSENT.get(answer.status_code, set()), (answer.status_code, answer.text)


@document.parametrize()
@hypothesis.settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=not IS_THOROUGH,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
def test_every_route_answers_as_described(case: schemathesis.Case, place: Gateway, keys: dict[str, str]) -> None:
    role = "provider" if case.path.startswith(SOLD) else "consumer"
    case.call_and_validate(
        base_url=place.url, headers={"authorization": keys[role]}, checks=[*CHECKS, no_fault], timeout=30
    )


def test_the_document_is_served(place: Gateway) -> None:
    answer = requests.get(f"{place.url}/api/openapi.json", timeout=10)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.content == DOCUMENT.read_bytes()


def test_it_has_every_route_and_no_call_of_operators() -> None:
    paths = answer_paths()
    assert {"/api/match", "/api/generate", "/api/orderbook/status", "/api/payments/balance"} <= paths
    assert not [path for path in paths if "admin" in path.lower()]


def answer_paths() -> set[str]:
    return set(document.raw_schema["paths"])
