// The exchange cannot be asked who this is: said so, and asked again until it can. The key stays.
import { fill, h } from "../dom.js";
import { poll } from "../poll.js";

const EVERY_MS = 5000;

/** `ask(signal)` throws until it has an answer; `failed(error)` hears of each error. Returns what ends it. */
export function away(page, error, ask, failed) {
  const why = h("p", { role: "alert" }, error.message);
  const again = h("button", { class: "button main", onclick: () => asking.now() }, "Try again");
  fill(page, h("div", { class: "signin" }, h("section", { class: "card", "aria-labelledby": "away" },
    h("h1", { id: "away" }, "No answer"), why,
    h("p", { class: "soft" }, "You are still signed in. The page asks again every few seconds."), h("div", { class: "row" }, again))));
  const asking = poll(EVERY_MS, ask, (next) => {
    if (!next) return;
    if (why.textContent !== next.message) why.textContent = next.message;
    failed(next);
  });
  return asking;
}
