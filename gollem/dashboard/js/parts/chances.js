// Why bids go elsewhere: by limit, with the price or the speed that would have won.
import { empty, h } from "../dom.js";
import { count, milliseconds, moment, price, speed, words } from "../format.js";
import { bars } from "./bars.js";
import { table } from "./table.js";

export function chances(asks) {
  if (!asks.length) return empty("You have no ask in the book", "Once you have one, the bids that it loses stand here, with what would win them.");
  return h("div", { class: "stack" }, asks.map((ask, at) => [at > 0 && h("hr"), one(ask)]));
}

function one(ask) {
  const title = h("h3", {}, ask.askId, h("span", { class: "soft" }, ` · ${ask.model}`));
  if (!ask.bids) return [title, empty("No bid for this model yet", "On this server, since its start.")];
  if (ask.won === ask.bids) return [title, h("p", {}, ask.bids === 1 ? "It would win the last bid." : `It would win all of the last ${count(ask.bids)} bids.`)];
  return [title,
    h("p", {}, lostWords(ask)),
    ask.blockedBy.length > 0 && h("p", { class: "alert bad" }, h("strong", {}, "It is not matched at all now"), ask.blockedBy.map(words).join(", ")),
    advice(ask),
    Object.keys(ask.excludedBy).length > 0 && bars("Lost bids by limit", reasons(ask), { most: ask.bids, kind: "warn" }),
    h("details", {}, h("summary", {}, ask.lost.length === 1 ? "The last one that it would lose" : `The last ${ask.lost.length} that it would lose`), losses(ask.lost))];
}

/** What became of the bids, some of which it would lose. */
function lostWords({ bids, won, outbid }) {
  if (bids === 1) return outbid ? "The last bid would go to a better ask." : "The last bid has a limit that it does not meet.";
  const outside = bids - won - outbid;
  const better = outbid && `${count(outbid)} would go to a better ask`;
  const limited = outside && `${count(outside)} ${outside === 1 ? "has a limit" : "have limits"} that it does not meet`;
  return `Of the last ${count(bids)} bids it would win ${won ? count(won) : "none"}. ${[better, limited].filter(Boolean).join(", and ")}.`;
}

const reasons = (ask) => Object.entries(ask.excludedBy).sort((a, b) => b[1] - a[1]).map(([limit, bids]) => [`outside the ${words(limit)} limit`, bids]);

/** What would win half of what it can win; the exchange reckons it. */
function advice(ask) {
  const half = (bids) => (bids === 1 ? "the one bid that this alone can win" : `at least half of the ${count(bids)} bids that this alone can win`);
  const ways = [
    ask.winningPrice && [`at ${price(ask.winningUsdPerMtok)} per million prompt tokens or less (an ask of ${price(ask.winningPrice)})`, half(ask.wonByPrice)],
    ask.winningLatencyMs !== undefined && [`with a first token within ${milliseconds(ask.winningLatencyMs)}`, half(ask.wonByLatency)],
    ask.winningThroughputTps !== undefined && [`at ${speed(ask.winningThroughputTps)} or more`, half(ask.wonByThroughput)],
  ].filter(Boolean);
  if (!ways.length) return h("p", { class: "hint" }, `Neither its price nor its speed alone would win ${ask.bids - ask.won === 1 ? "it" : "any of them"}.`);
  return h("div", { class: "advice" }, h("strong", {}, "It would win more"), h("ul", {}, ways.map(([how, what]) => h("li", {}, h("b", {}, how), `: ${what}.`))));
}

function losses(lost) {
  return table("Bids that it would lose", [
    ["When", (bid) => moment(bid.atMs)],
    ["Tokens, in · out", (bid) => `${count(bid.promptTokens)} · ${count(bid.maxTokens)}`, "num"],
    ["Why", (bid) => (bid.excludedBy.length ? `outside ${bid.excludedBy.map(words).join(", ")}` : "another ask is better")],
    ["Would win at", (bid) => price(bid.winningPrice), "num"],
    ["or within", (bid) => milliseconds(bid.winningLatencyMs), "num"],
    ["or with", (bid) => speed(bid.winningThroughputTps), "num"],
  ], lost);
}
