"""The dashboard as people have it: a real exchange, a real Envoy before it, and Debian's Chromium, once a module."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, Response, async_playwright

from tests.dashboard.world import World, make_world
from tests.servers.gateway import Gateway, gateway

SETTINGS = {
    "bridge.dashboard": "true",
    # Nobody waits a week here.
    "payments.delay_days": "0",
    "payments.least_payout_cents": "1",
    "payments.payout_interval_ms": "200",
    "payments.inbox_interval_ms": "100",
    "providers.samples_needed": "3",
    "reconcile.quick_interval_ms": "500",
}
WITHIN_MS = 30_000
# Pages ask again every two to five seconds; what changes is seen sooner here.
ASKS_OFTEN = """const later = window.setTimeout;
window.setTimeout = (work, ms, ...given) => later(work, [2000, 3000, 5000].includes(ms) ? 300 : ms, ...given);"""
WIDE, PHONE = (1280, 900), (390, 844)


@dataclass
class Desk:
    """A browser before the exchange. Whatever a page complains of is in `complaints`."""

    gateway: Gateway
    world: World
    browser: Browser
    complaints: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def page(self, scheme: str = "light", size: tuple[int, int] = WIDE) -> AsyncIterator[Page]:
        """A page of its own session, at the way in."""
        width, height = size
        context = await self.browser.new_context(
            color_scheme="dark" if scheme == "dark" else "light",
            viewport={"width": width, "height": height},
            accept_downloads=True,
            reduced_motion="reduce",
        )
        context.set_default_timeout(WITHIN_MS)
        await context.add_init_script(ASKS_OFTEN)
        page = await context.new_page()
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("response", self._response)
        try:
            await page.goto(self.gateway.url)
            yield page
        finally:
            await context.close()

    @asynccontextmanager
    async def signed_in(self, account: str, scheme: str = "light", size: tuple[int, int] = WIDE) -> AsyncIterator[Page]:
        async with self.page(scheme, size) as page:
            await sign_in(page, self.world.keys[account])
            yield page

    def forgive(self, status: str) -> None:
        """The browser tells of answers that are no success; those of this status were asked for."""
        told = [one for one in self.complaints if f"responded with a status of {status}" in one]
        assert told
        self.complaints[:] = [one for one in self.complaints if one not in told]

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _response(self, response: Response) -> None:
        if not response.url.startswith((self.gateway.url, "blob:")):
            self.complaints.append(f"from elsewhere: {response.url}")


async def sign_in(page: Page, key: str) -> None:
    await page.get_by_label("API key").fill(key)
    await page.get_by_role("button", name="Sign in").click()


async def go(page: Page, view: str) -> None:
    await page.get_by_role("navigation", name="Views").get_by_role("link", name=view).click()
    await page.get_by_role("heading", level=1, name=view).wait_for()


@pytest.fixture(scope="module")
def exchange() -> Iterator[Gateway]:
    with gateway(exchange_settings=SETTINGS) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(exchange: Gateway) -> AsyncIterator[Desk]:
    chromium = shutil.which("chromium")
    assert chromium, "these tests need Debian's package chromium"
    world = await make_world(exchange.exchange_port, exchange.data)
    async with async_playwright() as playwright:
        # The sandbox needs rights that a container may not have; the pages are ours.
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield Desk(exchange, world, browser)
        await browser.close()
    world.channel.close()


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures go: the folder that DASHBOARD_IMAGES names, or one that is thrown away."""
    named = os.environ.get("DASHBOARD_IMAGES")
    return Path(named) if named else tmp_path_factory.mktemp("images")
