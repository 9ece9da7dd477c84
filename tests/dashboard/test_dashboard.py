"""People at the dashboard: what they do there is done at the exchange, and what is there they can see and reach."""

import csv
import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, Route, expect

from gollem.bridge import Bridge, dashboard
from gollem.config import BridgeConfig
from gollem.rpc.pb import credit_pb2
from gollem.rpc.pb.credit_grpc import CreditServiceStub
from tests.dashboard.conftest import PHONE, WIDE, WITHIN_MS, Desk, go, sign_in
from tests.rpc.conftest import refused
from tests.until import until_answer

pytestmark = pytest.mark.asyncio(loop_scope="module")
expect.set_options(timeout=WITHIN_MS)
MODEL = "llama-3.1-8b"
# Of the pictures, those that the docs show.
KEPT = {"market-light", "account-dark", "selling-light", "exchange-light", "market-phone-dark"}
PICTURED = bool(os.environ.get("DASHBOARD_IMAGES"))
# What is wider than the page, unless it scrolls by itself.
WIDER = """[...document.querySelectorAll("main *")].filter((one) => !one.closest(".scroll, .unseen")
  && one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML.slice(0, 120)).slice(0, 3)"""
BROKEN_WORDS = """[...document.querySelectorAll(".unit")].filter((one) => one.getClientRects().length > 1)
  .map((one) => one.textContent)"""
SCROLLS = """[...document.querySelectorAll(".scroll")].filter((one) => one.scrollWidth > one.clientWidth)
  .map((one) => one.ariaLabel)"""
# Cards that begin together and do not end together, which leaves a hole; one may stand beside two.
HOLES = """[...document.querySelectorAll(".grid > .card")].filter((one, _, all) => all.some((other) =>
  Math.abs(one.getBoundingClientRect().top - other.getBoundingClientRect().top) < 1
  && Math.abs(one.getBoundingClientRect().bottom - other.getBoundingClientRect().bottom) > 1))
  .map((one) => one.querySelector("h2").textContent)"""
IS_COVERED = """document.querySelector("h1").getBoundingClientRect().top
  < document.getElementById("top").getBoundingClientRect().bottom"""
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], "resultTypes": ["violations"]}
MAX_IMAGE_BYTES = 200 * 1024


async def test_a_consumer_watches_buys_and_limits(desk: Desk) -> None:
    async with desk.page() as page:
        await sign_in(page, "nonsense")
        await expect(page.get_by_text("The API key is not valid")).to_be_visible()
        desk.forgive("401")
        await sign_in(page, desk.world.keys["alice"])
        await _watches_a_match_arrive(page, desk)
        await go(page, "Account")
        await _buys_credits(page)
        await _reads_the_statement(page, desk)
        await _limits_spending(page, desk)
        desk.forgive("400")
        await go(page, "Keys")
        await _makes_and_revokes_a_key(page)
        kept = await page.evaluate("[Object.keys(localStorage), document.cookie, Object.keys(sessionStorage)]")
        assert kept == [[], "", ["gollem-key"]]
        await page.get_by_role("button", name="Sign out").click()
        await page.get_by_role("heading", name="Sign in").wait_for()
        assert await page.evaluate("Object.keys(sessionStorage)") == []
    assert desk.complaints == []


async def _watches_a_match_arrive(page: Page, desk: Desk) -> None:
    trades = page.get_by_role("table", name="Trades")
    before = await trades.get_by_role("row").nth(1).inner_text()
    matched = await desk.world.trade(MODEL)
    await expect(trades.get_by_role("row").nth(1)).not_to_have_text(before)
    newest = trades.get_by_role("row").nth(1)
    await expect(newest).to_contain_text(matched.offer.provider_id)
    await expect(newest).to_contain_text(matched.held)


async def _buys_credits(page: Page) -> None:
    available = page.get_by_role("definition").first
    await expect(available).to_contain_text("credits")
    before = _number(await available.inner_text())
    await page.get_by_label("Another amount, USD").fill("1.005")
    await page.get_by_role("button", name="Continue").click()
    await expect(page.get_by_text("must be whole cents of USD")).to_be_visible()
    await page.get_by_label("Another amount, USD").fill("")
    await page.get_by_role("radio", name="$5").check()
    await page.get_by_role("button", name="Continue").click()
    await page.get_by_role("button", name="Pay $5.00").click()
    await expect(page.get_by_text("5,000.00 credits are yours.")).to_be_visible()
    await expect(available).to_contain_text(f"{before + 5000:,.2f}")


async def _reads_the_statement(page: Page, desk: Desk) -> None:
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Download CSV").click()
    lines = list(csv.DictReader((await (await download.value).path()).open()))
    balance = await CreditServiceStub(desk.world.channel).Balance(
        credit_pb2.BalanceRequest(), metadata=desk.world.metadata("alice")
    )
    assert sum(Decimal(line["credits"]) for line in lines) == Decimal(balance.available)
    await page.get_by_label("Kind").select_option("purchase")
    table = page.get_by_role("table", name="Statement")
    await expect(table.get_by_role("row")).to_have_count(2)
    await expect(table.get_by_role("row").nth(1)).to_contain_text("5,000.00000000")
    await expect(page.get_by_role("button", name="Show more")).to_be_hidden()


async def _limits_spending(page: Page, desk: Desk) -> None:
    await page.get_by_label("Credits a day").fill("a lot")
    await page.get_by_role("button", name="Set the limits").click()
    await expect(page.get_by_text("must be a decimal such as")).to_be_visible()
    await page.get_by_label("Credits a day").fill("0.5")
    await page.get_by_role("button", name="Set the limits").click()
    await expect(page.get_by_text("Your limits are set.")).to_be_visible()
    _, reason, _ = await refused(desk.world.trade(MODEL, max_price="0.01", min_throughput_tps=100.0))
    assert reason == "SPEND_LIMIT_REACHED"
    await page.get_by_label("Credits a day").fill("")
    await page.get_by_role("button", name="Set the limits").click()
    await expect(page.get_by_text("No limit is set.")).to_be_visible()
    await desk.world.trade(MODEL)


async def _makes_and_revokes_a_key(page: Page) -> None:
    await page.get_by_role("button", name="Make a key").click()
    secret = await page.get_by_role("dialog").locator(".secret").inner_text()
    assert re.fullmatch(r"glm_[0-9a-f]{16}_\S{43}", secret)
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    row = page.get_by_role("row").filter(has_text=secret[:20])
    await row.get_by_role("button", name="Revoke").click()
    await page.get_by_role("button", name="Revoke it").click()
    await expect(row).to_contain_text("revoked")


async def test_nothing_is_said_to_be_done_that_was_not(desk: Desk) -> None:
    async with desk.signed_in("alice") as page:
        await go(page, "Keys")
        await page.get_by_role("button", name="Make a key").click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_be_hidden()
        await page.route("**/api/account/keys/revoke", lambda route: route.abort())
        await page.get_by_role("button", name=re.compile("^Revoke")).first.click()
        await page.get_by_role("button", name="Revoke it").click()
        await expect(page.get_by_text("The exchange cannot be reached.")).to_be_visible()
        assert await page.get_by_text("The key is revoked.").count() == 0  # a notice goes by itself
        await page.route("**/api/market/**", lambda route: route.abort())
        await go(page, "Market")
        await expect(page.get_by_text("What you see may be old")).to_be_visible()
    desk.complaints[:] = [one for one in desk.complaints if "net::ERR_FAILED" not in one]
    assert desk.complaints == []


async def test_a_limit_that_is_being_written_stays_as_written(desk: Desk) -> None:
    credit = CreditServiceStub(desk.world.channel)
    alice = desk.world.metadata("alice")
    await credit.SetSpendLimit(credit_pb2.SetSpendLimitRequest(per_month="900000.00000001"), metadata=alice)
    async with desk.signed_in("alice") as page:
        await go(page, "Account")
        day, month = page.get_by_label("Credits a day"), page.get_by_label("Credits a month")
        await expect(month).to_have_value("900000.00000001")
        await day.fill("80000")
        await month.focus()
        await desk.world.trade(MODEL)  # what is used changes, and so does what is shown
        await expect(page.get_by_role("list", name="Limits used")).not_to_contain_text(re.compile(r"^This month0\.00 "))
        await expect(day).to_have_value("80000")
        await page.get_by_role("button", name="Set the limits").click()
        await expect(page.get_by_text("Your limits are set.")).to_be_visible()
    limit = await credit.GetSpendLimit(credit_pb2.GetSpendLimitRequest(), metadata=alice)
    assert (limit.per_day, limit.per_month) == ("80000.00000000", "900000.00000001")
    await credit.SetSpendLimit(credit_pb2.SetSpendLimitRequest(per_day="", per_month=""), metadata=alice)
    assert desk.complaints == []


# What Stripe's script offers, as far as the page uses it: it tells what it was given, and declines.
STRIPES_SCRIPT = """window.Stripe = (key) => ({
  elements: ({ clientSecret }) => ({
    create: (kind) => ({ mount: (place) => { place.textContent = `${kind} form of ${key} for ${clientSecret}`; } }),
  }),
  confirmPayment: async () => ({ error: { message: "Your card was declined." } }),
});"""


async def test_stripes_own_form_is_shown_where_stripe_takes_the_money(desk: Desk) -> None:
    """Under the policy that goes with it. The form itself is played: nothing here can reach Stripe."""
    bridge = Bridge(BridgeConfig(port=0), dashboard("stripe", "pk_test_1"))
    await bridge.start()
    context = await desk.browser.new_context()
    page = await context.new_page()
    blocked: list[str] = []
    page.on("console", lambda message: blocked.append(message.text) if message.type == "error" else None)
    await page.route("https://js.stripe.com/v3/", lambda route: route.fulfill(body=STRIPES_SCRIPT))
    await page.route("**/api/**", lambda route: _from_the_exchange(desk, route))
    await page.goto(bridge.url)
    await sign_in(page, desk.world.keys["alice"])
    await go(page, "Account")
    await page.get_by_role("button", name="Continue").click()
    await expect(page.get_by_text("payment form of pk_test_1 for")).to_be_visible()
    await page.get_by_role("button", name="Pay $25.00").click()
    await expect(page.get_by_text("Your card was declined.")).to_be_visible()
    assert blocked == []
    await context.close()
    await bridge.stop()


async def _from_the_exchange(desk: Desk, route: Route) -> None:
    """Its own answer, but that a real payment has no page of ours."""
    path = route.request.url.partition("/api/")[2]
    response = await route.fetch(url=f"{desk.gateway.url}/api/{path}")
    body = await response.json()
    if path == "payments/create-intent":
        del body["payUrl"]
    await route.fulfill(response=response, json=body)


async def test_a_provider_is_onboarded_and_paid(desk: Desk) -> None:
    async with desk.signed_in("borealis") as page:
        await go(page, "Selling")
        pay = page.get_by_role("button", name="Request payout")
        await expect(page.get_by_text("onboarding has not begun")).to_be_visible()
        await expect(pay).to_be_disabled()
        await page.get_by_label("Country of your bank").fill("ZZ")
        await page.get_by_role("button", name="Begin").click()
        await expect(page.locator(".fault", has_text="must")).to_be_visible()
        desk.forgive("400")
        await page.get_by_label("Country of your bank").fill("US")
        await page.get_by_role("button", name="Begin").click()
        details = await page.get_by_role("link", name="Complete your details").get_attribute("href")
        assert details
        other = await page.context.new_page()
        await other.goto(details)
        await other.close()
        await expect(page.get_by_text("You can be paid")).to_be_visible()
        await expect(page.get_by_text("It would win more").first).to_be_visible()
        asked: list[str] = []
        await page.route("**/api/payouts/request", lambda route: _lose_the_first_answer(asked, route))
        await pay.click()
        await expect(page.get_by_text("The exchange cannot be reached.")).to_be_visible()
        await pay.click()
        await expect(page.get_by_text("is on its way.")).to_be_visible()
        assert len(asked) == 2
        assert asked[0] == asked[1]
        payouts = page.get_by_role("table", name="Payouts")
        await expect(payouts.get_by_role("row").nth(1)).to_contain_text("paid")
        async with page.expect_download() as download:
            await page.get_by_role("button", name="Download CSV").first.click()
        assert (await (await download.value).path()).read_text().count("\n") > 1
    desk.complaints[:] = [one for one in desk.complaints if "net::ERR_FAILED" not in one]
    assert desk.complaints == []


async def _lose_the_first_answer(asked: list[str], route: Route) -> None:
    asked.append(route.request.post_data or "")
    await (route.abort() if len(asked) == 1 else route.continue_())


VIEWS = [("alice", ("Market", "Account")), ("borealis", ("Selling",)), ("ops", ("Exchange", "Keys"))]
LOOKS = [("light", WIDE), ("dark", PHONE)]


@pytest.mark.parametrize(("scheme", "size"), LOOKS + ([("dark", WIDE), ("light", PHONE)] if PICTURED else []))
async def test_every_view_can_be_seen_and_reached(desk: Desk, images: Path, scheme: str, size: tuple[int, int]) -> None:
    """axe finds no serious fault, and nothing is wider than the page. `make dashboard` takes pictures."""
    faults = []
    for account, views in VIEWS:
        async with desk.signed_in(account, scheme, size) as page:
            for view in views:
                await go(page, view)
                await page.locator("table:visible, .empty:visible").first.wait_for()
                assert not await page.evaluate(IS_COVERED), f"the bar stands before the heading of {view}"
                assert await page.evaluate(HOLES) == [], view
                await _picture(page, images, f"{view.lower()}{'-phone' if size == PHONE else ''}-{scheme}")
                await page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
                found = (await Axe().run(page, options=RULES)).response["violations"]
                faults += [f"{view}: {one['id']}: {one['nodes'][0]['html'][:200]}" for one in found if _is_serious(one)]
                assert await page.evaluate(WIDER) == [], view
                assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, view
                assert await page.evaluate(BROKEN_WORDS) == [], view
                assert (size, view) == (WIDE, "Market") or await page.evaluate(SCROLLS) == [], view
    assert faults == []
    assert desk.complaints == []


async def _picture(page: Page, images: Path, name: str) -> None:
    if not PICTURED or name not in KEPT:
        return
    await page.wait_for_load_state("networkidle")  # whatever is still to come has come
    await page.screenshot(path=images / f"dashboard-{name}.png")
    assert (images / f"dashboard-{name}.png").stat().st_size <= MAX_IMAGE_BYTES


def _is_serious(fault: dict[str, Any]) -> bool:
    return fault["impact"] in ("serious", "critical")


async def test_all_of_it_can_be_done_with_the_keyboard(desk: Desk) -> None:
    async with desk.page() as page:
        await page.keyboard.type(desk.world.keys["alice"])  # the field has the focus
        await page.keyboard.press("Enter")
        await page.get_by_role("heading", level=1, name="Market").wait_for()
        await page.reload()
        await page.get_by_role("heading", level=1, name="Market").wait_for()
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        await page.keyboard.press("Tab")
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Account")).to_be_focused()
        await page.keyboard.press("Enter")
        await page.get_by_role("heading", level=1, name="Account").wait_for()
        assert await page.evaluate("document.activeElement.id") == "main"
        await page.keyboard.press("Tab")
        outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
    assert desk.complaints == []


async def test_whoever_reloads_while_the_exchange_is_away_stays_signed_in(desk: Desk) -> None:
    async with desk.signed_in("ops") as page:
        await go(page, "Exchange")
        for unanswered in ("**/api/**", "**/dashboard.json"):
            await page.route(unanswered, lambda route: route.abort())
            await page.reload()
            await page.get_by_role("heading", level=1, name="No answer").wait_for()
            await expect(page.get_by_role("alert")).to_have_text("The exchange cannot be reached.")
            await page.unroute(unanswered)
            await page.get_by_role("button", name="Try again").click()
            await page.get_by_role("heading", level=1, name="Exchange").wait_for()
        await page.route("**/api/account", lambda route: route.fulfill(status=503, body="away"))
        await page.reload()
        await expect(page.get_by_role("alert")).to_have_text("The exchange answered 503.")
        await page.get_by_role("button", name="Sign out").click()
        await page.get_by_role("heading", name="Sign in").wait_for()
        assert await page.evaluate("Object.keys(sessionStorage)") == []
    desk.forgive("503")
    desk.complaints[:] = [one for one in desk.complaints if "net::ERR_FAILED" not in one]
    assert desk.complaints == []


# How far the card's own end is below what it holds, and the drawing's from that of its place.
ROOM_BELOW_THE_FRONT = """(() => {
  const bottom = (one) => document.querySelector(one)?.getBoundingClientRect().bottom;
  const room = [bottom(".fills") - bottom(".fills details"), bottom(".fills .chart") - bottom(".fills .uplot")];
  return room.map(Math.round);
})()"""


async def test_the_front_is_drawn_as_high_as_the_trades_beside_it(desk: Desk) -> None:
    async with desk.signed_in("alice") as page:
        await page.get_by_role("table", name="Trades").get_by_role("row").nth(12).wait_for()

        async def is_full() -> bool:
            card, chart = await page.evaluate(ROOM_BELOW_THE_FRONT)
            return bool(card < 25 and chart in (0, 1))

        await until_answer(is_full)
    assert desk.complaints == []


COUNTED = "import('/js/format.js').then(({ counted }) => [0, '1', 2].map((value) => counted(value, 'model')))"
LOST = """import('/js/parts/chances.js').then(({ chances }) => [1, 2].map((bids) => chances([{
  askId: 'a', model: 'm', bids, won: 0, outbid: bids, blockedBy: [], excludedBy: {}, winningPrice: '1',
  wonByPrice: bids, lost: Array.from({ length: bids }, () => ({ atMs: 1, excludedBy: [] })),
}])).map((one) => ['p', 'li', 'summary'].map((of) => one.querySelector(of).textContent)))"""
OUTSIDE = """import('/js/parts/chances.js').then(({ chances }) => [[1, 0], [2, 1], [1, 1], [2, 2]].map(([bids, won]) =>
  chances([{ askId: 'a', model: 'm', bids, won, outbid: 0, blockedBy: [], excludedBy: {}, lost: [] }]))
  .map((one) => [...one.querySelectorAll('p')].map((of) => of.textContent)))"""
SPENT = """import('/js/parts/spend_chart.js').then(({ spendChart }) => [6, 7].map((models) => spendChart({
  rows: Array.from({ length: models }, (_, at) => ({ model: `m${at}`, charged: `${9 - at}`, orders: 1, chargedUsd: '1',
    day: new Date().toISOString().slice(0, 10).replaceAll('-', '') })),
}, 2)[1].textContent))"""


async def test_numbers_and_their_nouns_agree(desk: Desk) -> None:
    async with desk.page() as page:
        assert await page.evaluate(COUNTED) == ["0 models", "1 model", "2 models"]
        one, two = await page.evaluate(LOST)
        assert one[0] == "The last bid would go to a better ask."
        assert one[1].endswith(": the one bid that this alone can win.")
        assert one[2] == "The last one that it would lose"
        assert two[0] == "Of the last 2 bids it would win none. 2 would go to a better ask."
        assert two[1].endswith(": at least half of the 2 bids that this alone can win.")
        assert two[2] == "The last 2 that it would lose"
        assert await page.evaluate(OUTSIDE) == [
            ["The last bid has a limit that it does not meet.", "Neither its price nor its speed alone would win it."],
            [
                "Of the last 2 bids it would win 1. 1 has a limit that it does not meet.",
                "Neither its price nor its speed alone would win it.",
            ],
            ["It would win the last bid."],
            ["It would win all of the last 2 bids."],
        ]
        assert await page.evaluate(SPENT) == ["m0m1m2m3m4m5", "m0m1m2m3m42 others"]
    assert desk.complaints == []


async def test_the_operators_tables_need_no_scrolling_on_a_phone(desk: Desk) -> None:
    async with desk.signed_in("ops", size=PHONE) as page:
        await go(page, "Exchange")
        checks = page.get_by_role("table", name="Reconciliation")
        await expect(checks.get_by_role("row").nth(1)).to_contain_text("All balances sum to zero")
        wider = await page.locator(".scroll").evaluate_all(
            "all => all.filter((one) => one.scrollWidth > one.clientWidth).length"
        )
        assert wider == 0
    assert desk.complaints == []


def _number(text: str) -> Decimal:
    return Decimal(text.split()[0].replace(",", "").replace("credits", ""))
