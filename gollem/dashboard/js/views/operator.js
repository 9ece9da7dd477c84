// The exchange for who operates it: read only. Decisions are made with `gollem cases`.
import { get } from "../api.js";
import { card, empty, fill, h } from "../dom.js";
import { count, counted, duration, moment, words } from "../format.js";
import { figures } from "../parts/figures.js";
import { badge, table } from "../parts/table.js";
import { poll, whenChanged } from "../poll.js";

const EVERY_MS = 5000;
const CHECKS = {
  R1: "Every transaction is what was written", R2: "All balances sum to zero", R3: "Each balance is the sum of its legs",
  R4: "What is held is what open holds hold", R5: "Every movement at the payment provider is booked", R6: "The balance there is ours",
  R8: "Each provider's balance there is ours", R9: "The past is what it was when it was sealed",
};
/** Cards of cases: which kinds, and what it means when there is none. */
const CASES = [
  ["Alerts", ["alert"], "Nothing rings."],
  ["Disputes", ["dispute"], "No payment is disputed."],
  ["Payouts waiting", ["payout"], "None is under way."],
  ["Other cases", ["adjustment", "unmatched", "refund", "event"], "Nobody has to decide anything."],
];

export function operator(page, failed) {
  const places = Object.fromEntries(["figures", "checks", "nodes", ...CASES.map(([title]) => title)].map((name) => [name, h("div")]));
  const title = (name) => places[name];
  fill(page, h("div", { class: "grid stacks" }, places.figures,
    card("Reconciliation", { size: "half", about: "The last result of each check of the books." }, places.checks),
    card("Nodes", { size: "half", about: "Servers that share one book." }, places.nodes),
    CASES.map(([name]) => card(name, { size: "half" }, title(name))),
    h("p", { class: "hint" }, "This page only reads. Decide with ", h("code", {}, "gollem cases --help"), ".")));
  const show = {
    figures: whenChanged((data) => fill(places.figures, headline(data))),
    checks: whenChanged((checks) => fill(places.checks, reconciliation(checks))),
    nodes: whenChanged((nodes) => fill(places.nodes, nodeTable(nodes))),
    cases: whenChanged((cases) => CASES.forEach(([name, kinds, none]) => fill(title(name), caseTable(name, cases.filter((one) => kinds.includes(one.kind)), none)))),
  };
  return poll(EVERY_MS, async (signal) => {
    const { atMs: _, nodes, checks, cases, ...data } = await get("/api/operator/overview", {}, signal);
    show.figures(data);
    show.checks(checks);
    show.nodes(nodes);
    show.cases(cases);
  }, failed);
}

function headline(data) {
  return h("div", { class: "stack" },
    data.payoutsHalted && h("p", { class: "alert bad" }, h("strong", {}, "Payouts are halted"), data.payoutsHalted),
    figures("The exchange now", [
      ["Running for", duration(data.uptimeMs), `release ${data.version}, payments: ${data.paymentsGateway}`],
      ["Orders under way", count(data.openOrders), `${counted(data.restingBids, "bid")} resting`],
      ["Asks live", count(data.liveAsks), `${count(data.blockedAsks)} blocked, ${counted(data.models, "model")}`],
      ["Circuits not closed", count(data.openCircuits), data.openCircuits ? "of providers that failed" : "every provider is well"],
    ]));
}

function reconciliation(checks) {
  if (!checks.length) return empty("No check was made yet", "The first comes within a minute of the start.");
  return table("Reconciliation", [
    ["Check", (check) => check.check],
    ["It proves", (check) => h("span", { class: "wrap" }, CHECKS[check.check] || ""), "wrap"],
    ["Result", (check) => (check.ok ? badge("holds", "good") : badge(counted(check.findings, "finding"), "bad"))],
    ["When", (check) => moment(check.atMs), "num"],
  ], checks);
}

function nodeTable(nodes) {
  return table("Nodes", [
    ["Node", (node) => h("span", { class: "clip" }, node.name)],
    ["State", (node) => (node.degraded ? badge("degraded", "bad") : badge("well", "good"))],
    ["Heard", (node) => `${count(node.heartbeatAgeMs)} ms ago`, "num"],
    ["Asks", (node) => count(node.asks), "num"],
    ["Lag", (node) => `${count(node.lagMs)} ms`, "num"],
    ["Refused", (node) => count(node.refused), "num"],
  ], nodes);
}

function caseTable(title, cases, none) {
  if (!cases.length) return empty(none);
  return table(title, [
    ["Case", (one) => h("span", { class: "clip mono" }, one.id)],
    ["State", (one) => badge(words(one.state), one.kind === "payout" ? "warn" : "bad")],
    ["About", (one) => h("span", { class: "wrap" }, one.about), "wrap"],
  ], cases);
}
