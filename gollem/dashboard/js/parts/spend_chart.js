// What was spent, a bar a day, stacked by model; and the same as a table.
import { empty, h } from "../dom.js";
import { atoms, count, credits, day, usd } from "../format.js";
import { legend, stackedBars } from "./charts.js";
import { table } from "./table.js";

const DAY_MS = 86_400_000;
const MAX_MODELS = 6; // the others are one

export function spendChart({ rows, truncated }, days) {
  if (!rows.length) return empty("Nothing was spent yet", "Orders stand here by day and model once they are settled: ", h("code", {}, "gollem generate --help"));
  const names = lastDays(days);
  const stacks = byModel(rows, names);
  return [
    stackedBars("Credits spent by day and model", { yText: (value) => value.toLocaleString("en-US") }, names.map((name) => `${Number(name.slice(6))}.${Number(name.slice(4, 6))}.`), stacks),
    legend(stacks.map((stack) => stack.name)),
    truncated && h("p", { class: "hint" }, "There are too many orders to look at all of them: the oldest are missing."),
    h("details", {}, h("summary", {}, "As a table"), table("Spending by day and model", [
      ["Day", (row) => day(row.day)],
      ["Model", (row) => row.model],
      ["Orders", (row) => count(row.orders), "num"],
      ["Credits", (row) => credits(row.charged), "num"],
      ["USD", (row) => usd(row.chargedUsd), "num"],
    ], rows)),
  ];
}

const lastDays = (days) => Array.from({ length: days }, (_, at) =>
  new Date(Date.now() - (days - 1 - at) * DAY_MS).toISOString().slice(0, 10).replaceAll("-", ""));

/** Only a picture: here alone credits become floats. */
function byModel(rows, names) {
  const values = new Map();
  for (const row of rows) {
    const at = names.indexOf(row.day);
    if (at < 0) continue;
    if (!values.has(row.model)) values.set(row.model, names.map(() => 0));
    values.get(row.model)[at] += Number(atoms(row.charged)) / 1e8;
  }
  const total = ([, of]) => of.reduce((sum, value) => sum + value, 0);
  const sorted = [...values].sort((a, b) => total(b) - total(a));
  const shown = sorted.length > MAX_MODELS ? MAX_MODELS - 1 : MAX_MODELS;
  const stacks = sorted.slice(0, shown).map(([name, of]) => ({ name, values: of }));
  const rest = sorted.slice(shown);
  if (rest.length) stacks.push({ name: `${rest.length} others`, values: names.map((_, at) => rest.reduce((sum, [, of]) => sum + of[at], 0)) });
  return stacks;
}
