// The account's own API keys.
import { get, post } from "../api.js";
import { card, fill, h } from "../dom.js";
import { moment } from "../format.js";
import { confirm, reveal } from "../parts/dialog.js";
import { attempt, notify } from "../parts/notice.js";
import { badge, table } from "../parts/table.js";
import { poll, whenChanged } from "../poll.js";
import { session } from "../session.js";

const EVERY_MS = 10_000;

export function keys(page, failed) {
  const list = h("div", { class: "stacks" });
  const make = h("button", { class: "button main", onclick: () => attempt(make, create) }, "Make a key");
  fill(page, card("API keys", { actions: make, about: "Each may do all that this account may. Revoke what is not in use." }, list));
  const show = whenChanged((all) => fill(list, table("API keys", [
    ["Key", (key) => h("span", { class: "mono" }, `glm_${key.keyId}_…`)],
    ["Made", (key) => moment(key.createdAtMs)],
    ["State", (key) => (key.revoked ? badge("revoked") : badge("in use", "good"))],
    ["", (key) => action(key, refresh), "num"],
  ], all)));
  const refresh = poll(EVERY_MS, async (signal) => show((await get("/api/account/keys", {}, signal)).keys.toReversed()), failed);

  async function create() {
    const made = await post("/api/account/keys", { account: session.account });
    reveal("Your new key", "It is shown this once. Keep it where nobody else can read it.", made.key);
    refresh.now();
  }
  return refresh;
}

function action(key, refresh) {
  if (key.revoked) return "";
  if (key.keyId === session.keyId) return h("span", { class: "soft" }, "signed in with it");
  const button = h("button", { class: "button quiet danger", "aria-label": `Revoke ${key.keyId}`, onclick: async () => {
    const sure = await confirm("Revoke this key?", `Whoever uses glm_${key.keyId} is refused within two seconds. This cannot be undone.`, "Revoke it");
    if (!sure) return;
    await attempt(button, async () => {
      await post("/api/account/keys/revoke", { keyId: key.keyId });
      notify("The key is revoked.");
    });
    refresh.now();
  } }, "Revoke");
  return button;
}
