// Buying credits: an amount, a payment, and the credits once the payment provider has said that they are paid for.
import { get, post } from "../api.js";
import { empty, fill, h } from "../dom.js";
import { takesMoney } from "../exchange.js";
import { short, usd } from "../format.js";
import { field, form } from "./form.js";
import { attempt, notify } from "./notice.js";
import { startPayment } from "./payment.js";

const AMOUNTS = ["5.00", "25.00", "100.00"];
const POLL_MS = 700;
const MAX_POLLS = 60;
const UNPAID = {
  created: "The payment has not been heard of yet. The credits come once it has.",
  pending: "Your bank has not decided yet. The credits come once it has.",
  cancelled: "The payment was cancelled: there are no credits for it.",
};

/** `bought` is called once the credits are there. */
export function buyCredits(bought) {
  if (!takesMoney()) return empty("Nothing is sold for money here", "Ask the operator for credits.");
  const place = h("div", { class: "stack" });
  const again = () => fill(place, amounts(pay));
  async function pay(amountUsd) {
    const purchaseId = `web-${crypto.randomUUID()}`;
    const made = await post("/api/payments/create-intent", { purchaseId, amountUsd });
    const payment = await startPayment(made.clientSecret, made.payUrl);
    const button = h("button", { class: "button main", onclick: () => attempt(button, () => settle(payment, purchaseId)) }, `Pay ${usd(amountUsd)}`);
    fill(place, h("p", {}, h("strong", {}, usd(amountUsd)), " for ", h("strong", {}, `${short(made.credits)} credits`)), payment.element,
      h("div", { class: "row" }, button, h("button", { class: "button", onclick: again }, "Cancel")));
    payment.mount?.();
    button.focus();
  }
  async function settle(payment, purchaseId) {
    await payment.confirm();
    const purchase = await credited(purchaseId);
    again();
    notify(purchase.state === "credited" ? `${short(purchase.credits)} credits are yours.` : UNPAID[purchase.state]);
    bought();
  }
  again();
  return place;
}

function amounts(pay) {
  const choice = (amount, at) => h("label", {}, h("input", { type: "radio", name: "preset", value: amount, checked: at === 1 }), h("span", {}, usd(amount).replace(".00", "")));
  return form("Buy credits", { submit: "Continue", send: (values) => pay(values.amount_usd.trim() || values.preset) },
    h("fieldset", {}, h("legend", {}, "Amount"), h("div", { class: "choices" }, AMOUNTS.map(choice))),
    field("Another amount, USD", "amount_usd", { inputmode: "decimal", placeholder: "1.00 to 1000.00" }));
}

/** The purchase once it is decided, or as it is when nobody wants to wait any longer. */
async function credited(purchaseId) {
  for (let polls = 0; ; polls += 1) {
    const purchase = await get("/api/payments/purchase", { purchaseId });
    if (purchase.state !== "created" || polls === MAX_POLLS) return purchase;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
