// Tables: a caption for those who cannot see them, a region to scroll, figures to the right.
import { h } from "../dom.js";

/** `columns` are [heading, cell of a row, "num" or other classes]; the first cell of a row names it.
 * `rowAttributes(row)` adds to its <tr>. */
export function table(caption, columns, rows, rowAttributes = () => ({})) {
  const heads = columns.map(([heading, , kind = ""]) => h("th", { scope: "col", class: kind }, heading || h("span", { class: "unseen" }, "Actions")));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {}, h("caption", { class: "unseen" }, caption), h("thead", {}, h("tr", {}, heads)),
      h("tbody", {}, rows.map((row) => h("tr", rowAttributes(row), columns.map(([, cell, kind = ""], at) =>
        h(at ? "td" : "th", at ? { class: kind } : { scope: "row", class: kind }, cell(row))))))));
}

export function badge(text, kind = "") {
  return h("span", { class: `badge ${kind}` }, text);
}
