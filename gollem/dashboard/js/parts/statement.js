// The statement: movements by kind and time, more of them when asked for, all of them as a file.
import { get } from "../api.js";
import { empty, fill, h } from "../dom.js";
import { credits, moment, words } from "../format.js";
import { whenChanged } from "../poll.js";
import { field, select } from "./form.js";
import { attempt } from "./notice.js";
import { badge, table } from "./table.js";

const PAGE = matchMedia("(max-width: 700px)").matches ? 6 : 15; // on a phone a line is a block
const FILE_PAGE = 500;
const MAX_LINES = 50_000; // of a file
const SPENDING = ["purchase", "grant", "hold", "settle", "void", "expire", "refund_initiated", "adjustment"];
const EARNINGS = ["settle", "payout_initiated", "payout_cancelled", "payout_failed", "clawback", "adjustment"];

export function statement({ earnings }) {
  const list = h("div", { class: "stacks" });
  const kinds = [["", "Everything"], ...(earnings ? EARNINGS : SPENDING).map((kind) => [kind, words(kind)])];
  const kind = field("Kind", "kind", { control: select(kinds) });
  const since = field("From (UTC)", "since", { type: "date" });
  const until = field("Before (UTC)", "until", { type: "date" });
  const more = h("button", { class: "button", hidden: true, onclick: () => attempt(more, async () => { pages += 1; await refresh(); }) }, "Show more");
  const save = h("button", { class: "button", onclick: () => attempt(save, () => download(query(), earnings)) }, "Download CSV");
  const element = h("div", { class: "stack" }, h("div", { class: "fields" }, kind, since, until), list, h("div", {}, more));
  let pages = 1;
  element.addEventListener("change", () => { pages = 1; refresh().catch(() => {}); });

  const value = (of) => of.querySelector("input, select").value;
  const midnight = (text) => (text ? Date.parse(`${text}T00:00:00Z`) : "");
  const query = () => ({ kinds: value(kind), fromMs: midnight(value(since)), toMs: midnight(value(until)), earnings });
  const show = whenChanged(({ transactions, nextPageToken }) => {
    fill(list, lines(transactions, earnings));
    more.hidden = !nextPageToken;
  });
  async function refresh(signal) {
    show(await get("/api/payments/transactions", { ...query(), pageSize: Math.min(PAGE * pages, FILE_PAGE) }, signal));
  }
  return { element, actions: save, refresh };
}

function lines(transactions, earnings) {
  if (!transactions.length) return empty("Nothing here", earnings ? "What you earn stands here, order by order." : "What you buy and spend stands here, to the last atom.");
  return table("Statement", [
    ["When", (line) => moment(line.atMs)],
    ["What", (line) => badge(words(line.kind), line.amount.startsWith("-") ? "" : "good")],
    ["Order", (line) => h("span", { class: "clip mono" }, line.orderId || "–")],
    ["Credits", (line) => credits(line.amount), "num"],
  ], transactions);
}

/** Every line that the filter admits, in a file of the browser's. */
async function download(query, earnings) {
  const rows = [["at_utc", "kind", "key", "order_id", "credits"]];
  let pageToken = "";
  do {
    const answer = await get("/api/payments/transactions", { ...query, pageSize: FILE_PAGE, pageToken });
    for (const line of answer.transactions) rows.push([new Date(Number(line.atMs)).toISOString(), line.kind, line.key, line.orderId, line.amount]);
    pageToken = answer.nextPageToken;
  } while (pageToken && rows.length < MAX_LINES);
  save(`gollem-${earnings ? "earnings" : "statement"}.csv`, `${rows.map((row) => row.map(quoted).join(",")).join("\n")}\n`, "text/csv");
}

/** A name that a spreadsheet would take for a formula is kept from being one. */
function quoted(text) {
  const safe = /^[=+@]|^-(?!\d)/.test(text) ? `'${text}` : text;
  return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export function save(name, content, type) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
