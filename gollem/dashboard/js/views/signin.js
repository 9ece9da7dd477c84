// The way in: an API key, which stays in this tab.
import { get } from "../api.js";
import { fill, h } from "../dom.js";
import { field, form } from "../parts/form.js";
import { session } from "../session.js";

/** `entered` is called once the exchange knows the key. */
export function signIn(page, entered, why = "") {
  const key = field("API key", "key", { type: "password", placeholder: "glm_…", required: true, spellcheck: "false", autofocus: true });
  fill(page, h("div", { class: "signin" },
    h("div", { class: "brand" }, h("img", { src: "/favicon.svg", alt: "" }), "GoLLeM"),
    h("section", { class: "card", "aria-labelledby": "signin" },
      h("h1", { id: "signin" }, "Sign in"),
      h("p", { class: "soft" }, "With an API key of your account. It stays in this tab and is gone when you close it."),
      why && h("p", { class: "alert" }, why),
      form("Sign in", { submit: "Sign in", send: (values) => enter(values.key.trim(), entered) }, key),
      h("p", { class: "hint" }, "No key? Your operator makes one: ", h("code", {}, "gollem keys create --help")))));
  page.querySelector("input").focus();
}

async function enter(key, entered) {
  if (!/^[\x21-\x7e]{1,200}$/.test(key)) throw Object.assign(new Error("Paste an API key, such as glm_…"), { field: "key", figures: {} });
  session.begin(key);
  try {
    session.know(await get("/api/account"));
  } catch (error) {
    session.end();
    throw Object.assign(error, { field: error.status === 401 ? "key" : "" });
  }
  entered();
}
