// A row of headline figures.
import { h } from "../dom.js";

/** Each figure is [label, value, note]. */
export function figures(label, items) {
  return h("dl", { class: "card figures", "aria-label": label }, items.map(([name, value, note]) =>
    h("div", { class: "figure" }, h("dt", {}, name), h("dd", {}, value), note && h("dd", { class: "note" }, note))));
}
