// A consumer's account: money, spending, buying, limits, the statement.
import { get } from "../api.js";
import { card, fill, h } from "../dom.js";
import { atoms, bigCredits, credits, decimal, short, usd, usdOf } from "../format.js";
import { figures } from "../parts/figures.js";
import { poll, whenChanged } from "../poll.js";
import { buyCredits } from "../parts/buy.js";
import { spendChart } from "../parts/spend_chart.js";
import { spendLimits } from "../parts/spend_limits.js";
import { statement } from "../parts/statement.js";

const EVERY_MS = 3000;
const DAYS = 14;

export function consumer(page, failed) {
  const top = h("div", { class: "stack" });
  const chart = h("div", { class: "stacks" }); // its table, on a phone
  const lines = statement({ earnings: false });
  const limits = spendLimits();
  fill(page, h("div", { class: "grid" }, top,
    card("Spending", { size: "two-thirds", about: `What settled orders cost, in credits, of the last ${DAYS} days (UTC).` }, chart),
    h("div", { class: "third beside-two" }, h("div", { class: "stack cards" },
      card("Buy credits", { about: "A credit is a thousandth of a US dollar." }, buyCredits(() => refresh.now())),
      card("Spend limits", { about: "Hard: an order that could cost more is refused." }, limits.element))),
    card("Statement", { size: "two-thirds", actions: lines.actions }, lines.element)));
  const showTop = whenChanged((data) => fill(top, warnings(data.balance), figures("Your credits", headline(data))));
  const showChart = whenChanged((spending) => fill(chart, spendChart(spending, DAYS)));
  const refresh = poll(EVERY_MS, async (signal) => {
    const [balance, spending, limit] = await Promise.all([
      get("/api/payments/balance", {}, signal), get("/api/payments/spending", { days: DAYS }, signal), get("/api/payments/spend-limit", {}, signal),
    ]);
    showTop({ balance, spending, limit });
    showChart(spending);
    limits.show(limit);
    await lines.refresh(signal);
  }, failed);
  return refresh;
}

function headline({ balance, spending, limit }) {
  const today = new Date().toISOString().slice(0, 10).replaceAll("-", "");
  const sum = (rows) => decimal(rows.reduce((total, row) => total + atoms(row.charged), 0n));
  const spentToday = sum(spending.rows.filter((row) => row.day === today));
  const spent = sum(spending.rows);
  const limited = limit.perDay && h("span", {}, `${short(limit.usedToday)} of ${short(limit.perDay)} today's limit`);
  return [
    ["Available", bigCredits(balance.available), usd(balance.availableUsd)],
    ["Held for orders under way", bigCredits(balance.held), usdOf(balance.held)],
    ["Spent today", bigCredits(spentToday), limited || usdOf(spentToday)],
    [`Spent in ${DAYS} days`, bigCredits(spent), usdOf(spent)],
  ];
}

function warnings(balance) {
  return [
    !balance.active && h("p", { class: "alert bad" }, h("strong", {}, "Your account is frozen"), "It opens no new orders. Ask the operator why."),
    atoms(balance.debt) > 0n && h("p", { class: "alert" }, h("strong", {}, "You owe ", credits(balance.debt), " credits"), "Your next purchase repays them first."),
  ];
}
