// The market: what is for sale, the front of one model, what was matched, and what bids were refused for.
import { get } from "../api.js";
import { card, empty, fill, h } from "../dom.js";
import { count, counted, credits, milliseconds, moment, plural, price, speed, tokens, words } from "../format.js";
import { bars } from "../parts/bars.js";
import { scatter } from "../parts/charts.js";
import { figures } from "../parts/figures.js";
import { badge, table } from "../parts/table.js";
import { poll, whenChanged } from "../poll.js";

const EVERY_MS = 2000;
const CLASSES = { depth: "stacks", front: "stacks long", trades: "stacks few" }; // on a phone
const SELL = h("code", {}, "python -m provider_agent --help");

export function market(page, failed) {
  const places = Object.fromEntries(["figures", "depth", "front", "trades", "refusals"].map((name) => [name, h("div", { class: CLASSES[name] })]));
  const title = h("span", {}, "The front");
  fill(page, h("div", { class: "grid" }, places.figures,
    card("Depth by model", { size: "two-thirds", about: "Asks that can be matched now. Choose a model to see its front." }, places.depth),
    card("Refused within the hour", { size: "third", about: "Of the refused bids, how many each limit kept asks from." }, places.refusals),
    card("Price against latency", { size: "half fills", about: h("span", {}, title, ": asks that no other beats in price, latency and speed at once. The larger, the faster.") }, places.front),
    card("Trades", { size: "half", about: "Matched on this server since its start, newest first." }, places.trades)));
  let chosen = "";
  let book = [];

  const showFront = whenChanged((model) => {
    title.textContent = model ? `The front of ${model.model}` : "The front";
    fill(places.front, front(model));
  });
  const showDepth = whenChanged((models) => fill(places.depth, depth(models, chosen, (name) => { chosen = name; show(); })));
  function show() {
    const model = book.find((one) => one.model === chosen) || [...book].sort((a, b) => b.liveAsks - a.liveAsks)[0];
    chosen = model?.model || "";
    showDepth(book.map(({ front: offers, ...model }) => ({ ...model, from: offers[0]?.promptUsdPerMtok, chosen: model.model === chosen })));
    showFront(model);
  }
  const showTrades = whenChanged((trades) => fill(places.trades, tape(trades)));
  const showRefusals = whenChanged((models) => fill(places.refusals, refusals(models)));
  const showFigures = whenChanged((items) => fill(places.figures, figures("The market now", items)));

  return poll(EVERY_MS, async (signal) => {
    const [answer, { trades }, refused] = await Promise.all([
      get("/api/orderbook/status", {}, signal), get("/api/market/trades", { limit: 50 }, signal), get("/api/market/refusals", {}, signal),
    ]);
    book = answer.models;
    show();
    showTrades(trades);
    showRefusals(refused.models);
    showFigures(headline(book, refused.models));
  }, failed);
}

function headline(book, refused) {
  const sum = (list, name) => list.reduce((total, one) => total + Number(one[name]), 0);
  const matched = sum(refused, "matched");
  const tried = matched + sum(refused, "refused");
  return [
    ["Asks live", count(sum(book, "liveAsks")), `${count(sum(book, "blockedAsks"))} blocked, ${counted(book.length, "model")}`],
    ["Free at once", count(sum(book, "freeSlots")), `${plural(sum(book, "freeSlots"), "order")}, ${tokens(sum(book, "freeTokens"))} ${plural(sum(book, "freeTokens"), "token")}`],
    ["Matched within the hour", count(matched), tried ? `${Math.round((100 * matched) / tried)} % of ${counted(tried, "bid")}` : "no bid yet"],
    ["Bids resting", count(sum(book, "restingBids")), "until an ask allows them"],
  ];
}

function depth(models, chosen, choose) {
  if (!models.length) return empty("Nothing is for sale yet", "A provider's agent puts its ask here: ", SELL.cloneNode(true));
  return table("Depth by model", [
    ["Model", (model) => h("button", { class: "link", "aria-pressed": String(model.chosen), onclick: () => choose(model.model) }, model.model)],
    ["Live", (model) => (model.liveAsks ? badge(`${count(model.liveAsks)} live`, "good") : badge("none live", "warn"))],
    ["Blocked", (model) => count(model.blockedAsks), "num"],
    ["From, USD/M", (model) => price(model.from), "num"],
    ["Free slots", (model) => count(model.freeSlots), "num"],
    ["Free tokens", (model) => tokens(model.freeTokens), "num"],
    ["Resting", (model) => count(model.restingBids), "num"],
  ], models, (model) => ({ "aria-selected": String(model.chosen) }));
}

function front(model) {
  if (!model?.front.length) return empty("No ask is live", "Once one is, its price stands here against its latency.");
  const points = model.front.map((offer) => ({
    x: offer.latencyMs, y: Number(offer.promptUsdPerMtok), size: offer.throughputTps, name: offer.providerId,
  }));
  return [
    scatter(`The front of ${model.model}: ${counted(points.length, "ask")} by price and latency`, {
      xLabel: "ms to the first token", yLabel: "USD per million prompt tokens",
      xText: (ms) => Math.round(ms).toLocaleString("en-US"), yText: (usd) => `$${Number(usd.toPrecision(3))}`,
    }, points),
    h("details", {}, h("summary", {}, "As a table"), table(`The front of ${model.model}`, [
      ["Provider", (offer) => offer.providerId],
      ["GPU", (offer) => offer.gpuType],
      ["Prompt, USD/M", (offer) => price(offer.promptUsdPerMtok), "num"],
      ["Completion, USD/M", (offer) => price(offer.completionUsdPerMtok), "num"],
      ["First token", (offer) => milliseconds(offer.latencyMs), "num"],
      ["Speed", (offer) => speed(offer.throughputTps), "num"],
      ["", (offer) => badge(offer.measured ? "measured" : "promised", offer.measured ? "good" : "")],
    ], model.front)),
  ];
}

function tape(trades) {
  if (!trades.length) return empty("No trade yet", "Buy something: ", h("code", {}, "gollem generate --help"));
  return table("Trades", [
    ["Time", (trade) => moment(trade.atMs)],
    ["Model", (trade) => h("span", { class: "clip" }, trade.model)],
    ["Provider", (trade) => h("span", { class: "clip" }, trade.providerId)],
    ["USD/M", (trade) => price(trade.promptUsdPerMtok), "num"],
    ["Tokens", (trade) => count(trade.promptTokens + trade.maxTokens), "num"],
    ["Held", (trade) => credits(trade.held), "num"],
  ], trades.slice(0, 12));
}

function refusals(models) {
  const limits = {};
  for (const model of models) for (const [limit, bids] of Object.entries(model.limitedBy)) limits[limit] = (limits[limit] || 0) + bids;
  const items = Object.entries(limits).sort((a, b) => b[1] - a[1]).map(([limit, bids]) => [words(limit), bids]);
  if (items.length) return bars("Refused bids by limit", items, { kind: "warn" });
  const refused = models.reduce((total, model) => total + model.refused, 0);
  return refused ? empty(`${counted(refused, "bid")} refused`, "There was no ask for their models.") : empty("No bid was refused", "Every bid of the last hour found an ask.");
}
