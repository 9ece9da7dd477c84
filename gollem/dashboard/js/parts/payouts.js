// Payouts so far, and the statements of months.
import { get } from "../api.js";
import { empty, h } from "../dom.js";
import { moment, usd, words } from "../format.js";
import { field } from "./form.js";
import { attempt } from "./notice.js";
import { save } from "./statement.js";
import { badge, table } from "./table.js";

const KINDS = { paid: "good", failed: "bad", reversed: "bad", cancelled: "" };

export function payouts(list) {
  return h("div", { class: "stack" }, list.length ? history(list) : empty("No payout yet", "Earnings are payable once they have matured."), statements());
}

function history(list) {
  return table("Payouts", [
    ["Payout", (payout) => h("span", { class: "clip mono" }, payout.payoutId)],
    ["When", (payout) => moment(payout.createdAtMs)],
    ["State", (payout) => badge(words(payout.state), KINDS[payout.state] ?? "warn")],
    ["USD", (payout) => usd(payout.amountUsd), "num"],
  ], list);
}

function statements() {
  const month = field("Statement of a month", "month", { type: "month", value: new Date().toISOString().slice(0, 7) });
  const button = h("button", { class: "button", onclick: () => attempt(button, async () => {
    const wanted = month.querySelector("input").value.replace("-", "");
    const { content } = await get("/api/payouts/statement", { month: wanted, format: "csv" });
    save(`gollem-${wanted}.csv`, content, "text/csv");
  }) }, "Download CSV");
  return h("div", { class: "fields" }, month, button);
}
