// What was earned, and the button that has it paid out.
import { post } from "../api.js";
import { h } from "../dom.js";
import { atoms, credits, short, usd } from "../format.js";
import { figures } from "./figures.js";
import { attempt, notify } from "./notice.js";

export function earnings(earned, pay) {
  const note = (text) => `${short(text)} credits`;
  pay.payable(atoms(earned.payable) > 0n);
  return h("div", { class: "stack" },
    atoms(earned.debt) > 0n && h("p", { class: "alert" }, h("strong", {}, "You owe ", credits(earned.debt), " credits"), "Your next earnings repay them first."),
    figures("Your earnings", [
      ["Payable", usd(earned.payableUsd), pay.element],
      ["Maturing", usd(earned.maturingUsd), note(earned.maturing)],
      ["On its way to your bank", usd(earned.inFlightUsd), note(earned.inFlight)],
      ["Paid out", usd(earned.paidUsd), note(earned.paid)],
    ]));
}

/** One button for all times: it keeps the focus while figures change. */
export function requestPayout(requested) {
  let ready = false;
  let some = false;
  let payoutId = ""; // of one that was asked for and not answered: asked again, it is the same
  const element = h("button", { class: "button main", onclick: () => attempt(element, async () => {
    payoutId ||= `web-${crypto.randomUUID()}`;
    const payout = await post("/api/payouts/request", { payoutId });
    payoutId = "";
    notify(`${usd(payout.amountUsd)} is on its way.`);
    requested();
  }).then(update) }, "Request payout");
  const update = () => { element.disabled = !(ready && some); };
  update();
  return { element, allow: (is) => { ready = is; update(); }, payable: (is) => { some = is; update(); } };
}
