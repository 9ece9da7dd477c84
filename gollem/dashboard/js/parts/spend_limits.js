// Limits of what the account may spend, and how far they are used.
import { post } from "../api.js";
import { fill, h } from "../dom.js";
import { atoms, price, short } from "../format.js";
import { whenChanged } from "../poll.js";
import { bars } from "./bars.js";
import { field, form } from "./form.js";
import { notify } from "./notice.js";

export function spendLimits() {
  const used = h("div");
  const perDay = field("Credits a day", "per_day", { inputmode: "decimal", placeholder: "no limit" });
  const perMonth = field("Credits a month", "per_month", { inputmode: "decimal", placeholder: "no limit" });
  const element = h("div", { class: "stack" }, used, form("Spend limits", { submit: "Set the limits", send: async (values) => {
    const limit = await post("/api/payments/spend-limit", { perDay: values.per_day.trim(), perMonth: values.per_month.trim() });
    edited.clear();
    show(limit);
    notify("Your limits are set.");
  } }, h("div", { class: "fields" }, perDay, perMonth)));
  // What somebody has begun to write is theirs until it is sent: nothing that comes meanwhile may take its place.
  const edited = new Set();
  element.addEventListener("input", (event) => edited.add(event.target));
  const show = whenChanged((limit) => {
    fill(used, meters(limit));
    for (const [of, most] of [[perDay, limit.perDay], [perMonth, limit.perMonth]]) {
      const input = of.querySelector("input");
      if (!edited.has(input)) input.value = exact(most);
    }
  });
  return { element, show };
}

/** A limit to the last place, for it is sent back as it stands; zeros beyond the cent dropped. */
const exact = (most) => (most ? price(most).replaceAll(/[$,]/g, "") : "");

function meters(limit) {
  const items = [["Today", limit.usedToday, limit.perDay], ["This month", limit.usedThisMonth, limit.perMonth]].filter(([, , most]) => most);
  if (!items.length) return h("p", { class: "hint" }, "No limit is set. What an order may cost at most counts until it is settled.");
  const percent = (part, whole) => Number((atoms(part) * 1000n) / atoms(whole)) / 10;
  return bars("Limits used", items.map(([name, part, most]) => [name, percent(part, most), `${short(part)} of ${short(most)}`]), { most: 100 });
}
