// Bars beside their names and counts: a list that also reads as one.
import { h } from "../dom.js";
import { count } from "../format.js";

/** `items` are [name, number, shown]; the longest is full, or `most` is. */
export function bars(label, items, { most = Math.max(1, ...items.map(([, number]) => number)), kind = "" } = {}) {
  return h("div", { class: "bars", role: "list", "aria-label": label }, items.map(([name, number, shown]) => {
    const bar = h("span", { class: `fill ${kind}` });
    bar.style.width = `${Math.min(100, (number / most) * 100)}%`;
    return h("div", { role: "listitem" }, h("span", {}, name), h("span", { class: "track", "aria-hidden": "true" }, bar), h("b", {}, shown ?? count(number)));
  }));
}
