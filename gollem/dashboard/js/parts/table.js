// Tables: a caption for those who cannot see them, a region to scroll, figures to the right.
// In an element of class "stacks" a row is a block on a phone; the roles are said, as not every browser keeps them then.
import { h } from "../dom.js";

/** `columns` are [heading, cell of a row, "num" or other classes]; the first cell of a row names it.
 * `rowAttributes(row)` adds to its <tr>. */
export function table(caption, columns, rows, rowAttributes = () => ({})) {
  const heads = columns.map(([heading, , kind = ""]) =>
    h("th", { scope: "col", role: "columnheader", class: kind }, heading || h("span", { class: "unseen" }, "Actions")));
  const cells = (row) => columns.map(([heading, cell, kind = ""], at) => (at
    ? h("td", { role: "cell", class: kind, "data-heading": heading }, cell(row))
    : h("th", { scope: "row", role: "rowheader", class: kind, "data-heading": heading }, cell(row))));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", { role: "table" }, h("caption", { class: "unseen" }, caption),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)),
      h("tbody", { role: "rowgroup" }, rows.map((row) => h("tr", { role: "row", ...rowAttributes(row) }, cells(row))))));
}

export function badge(text, kind = "") {
  return h("span", { class: `badge ${kind}` }, text);
}
