// A provider's side: what it sells, how that is measured, what it earned, and why bids go elsewhere.
import { ApiError, get } from "../api.js";
import { card, fill, h } from "../dom.js";
import { chances } from "../parts/chances.js";
import { earnings, requestPayout } from "../parts/earnings.js";
import { asks, circuitOf, gpus } from "../parts/asks.js";
import { onboarding } from "../parts/onboarding.js";
import { payouts } from "../parts/payouts.js";
import { statement } from "../parts/statement.js";
import { poll, whenChanged } from "../poll.js";
import { session } from "../session.js";

const EVERY_MS = 3000;

export function provider(page, failed) {
  const places = Object.fromEntries(["money", "onboarding", "asks", "circuit", "gpus", "chances", "payouts"].map((name) => [name, h("div")]));
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
    const [sold, why, circuit, latency, rates] = await Promise.all([
      get("/api/provider/asks", {}, signal), get("/api/provider/why", {}, signal),
      orNothing(get("/api/provider/circuit", { providerId }, signal)), orNothing(get("/api/provider/latency", { providerId }, signal)),
      orNothing(get("/api/provider/ratelimit", { providerId }, signal)),
    ]);
    show.asks({ asks: sold.asks.map(({ heardAgoMs: _, gpus: __, ...ask }) => ask), latency: latency?.asks || [], rates: rates?.asks || [] });
    show.gpus(sold.asks.map(({ askId, gpus, running, queued }) => ({ askId, gpus, running, queued })));
    show.circuit(circuit);
    show.chances(why.asks);
    const money = await orNothing(Promise.all([get("/api/payouts/earnings", {}, signal), get("/api/payouts", { pageSize: 20 }, signal), get("/api/payouts/onboarding", {}, signal)]));
    if (money) {
      pay.allow(money[2].ready);
      show.money(money[0]);
      show.payouts(money[1].payouts);
    }
    join.show(money?.[2] || null);
    await lines.refresh(signal);
  }, failed);
  return refresh;
}

/** Nothing where there is nothing: a provider without an ask, an exchange that pays nobody out. */
async function orNothing(asked) {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof ApiError && (error.status === 404 || error.status === 501)) return null;
    throw error;
  }
}
