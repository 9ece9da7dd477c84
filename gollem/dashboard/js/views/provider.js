// A provider's side: what it sells, how that is measured, what it earned, and why bids go elsewhere.
import { get } from "../api.js";
import { card, fill, h } from "../dom.js";
import { takesMoney } from "../exchange.js";
import { chances } from "../parts/chances.js";
import { earnings, requestPayout } from "../parts/earnings.js";
import { asks, circuitOf, gpus } from "../parts/asks.js";
import { onboarding } from "../parts/onboarding.js";
import { payouts } from "../parts/payouts.js";
import { statement } from "../parts/statement.js";
import { poll, whenChanged } from "../poll.js";
import { session } from "../session.js";

const EVERY_MS = 3000;
const CLASSES = { asks: "stacks long", chances: "stacks", payouts: "stacks", gpus: "above" }; // on a phone

export function provider(page, failed) {
  const places = Object.fromEntries(["money", "onboarding", "asks", "circuit", "gpus", "chances", "payouts"].map((name) => [name, h("div", { class: CLASSES[name] })]));
  const lines = statement({ earnings: true });
  const join = onboarding(() => refresh.now());
  fill(page, h("div", { class: "grid" }, places.money,
    card("Asks", { about: "Promised against what clients measured; the book takes the measured figures once there are enough." }, places.circuit, places.asks),
    card("Why was I not matched", { about: "The last bids for your models, tried against your asks as they are now." }, places.chances),
    card("Payouts", { size: "two-thirds" }, places.payouts),
    card("Getting paid", { size: "third" }, join.element),
    card("GPUs", { about: "As your agents last reported." }, places.gpus),
    card("Earnings, order by order", { actions: lines.actions }, lines.element)));
  const pay = requestPayout(() => refresh.now());
  const show = {
    money: whenChanged((earned) => fill(places.money, earnings(earned, pay))),
    asks: whenChanged((data) => fill(places.asks, asks(data))),
    circuit: whenChanged((state) => fill(places.circuit, circuitOf(state))),
    gpus: whenChanged((list) => fill(places.gpus, gpus(list))),
    chances: whenChanged((list) => fill(places.chances, chances(list))),
    payouts: whenChanged((list) => fill(places.payouts, payouts(list))),
  };
  const refresh = poll(EVERY_MS, async (signal) => {
    const providerId = session.account;
    const [sold, why] = await Promise.all([get("/api/provider/asks", {}, signal), get("/api/provider/why", {}, signal)]);
    // Of a provider without an ask the exchange knows none of these.
    const watched = (what) => (sold.asks.length ? get(`/api/provider/${what}`, { providerId }, signal) : null);
    const [circuit, latency, rates] = await Promise.all(["circuit", "latency", "ratelimit"].map(watched));
    show.asks({ asks: sold.asks.map(({ heardAgoMs: _, gpus: __, ...ask }) => ask), latency: latency?.asks || [], rates: rates?.asks || [] });
    show.gpus(sold.asks.map(({ askId, gpus, running, queued }) => ({ askId, gpus, running, queued })));
    show.circuit(circuit);
    show.chances(why.asks);
    if (takesMoney()) {
      const [earned, paid, state] = await Promise.all([
        get("/api/payouts/earnings", {}, signal), get("/api/payouts", { pageSize: 20 }, signal), get("/api/payouts/onboarding", {}, signal),
      ]);
      pay.allow(state.ready);
      show.money(earned);
      show.payouts(paid.payouts);
      join.show(state);
    } else {
      join.show(null);
    }
    await lines.refresh(signal);
  }, failed);
  return refresh;
}
