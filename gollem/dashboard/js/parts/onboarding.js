// Whether the provider can be paid, and how it comes to be.
import { post } from "../api.js";
import { empty, fill, h } from "../dom.js";
import { usd } from "../format.js";
import { whenChanged } from "../poll.js";
import { field, form } from "./form.js";
import { badge } from "./table.js";

export function onboarding(began) {
  const state = h("div");
  const link = h("p"); // stays while the state changes, which it does as soon as there is one
  return {
    element: h("div", { class: "stack" }, state, link),
    show: whenChanged((now) => {
      if (now?.ready) fill(link);
      fill(state, now === null ? off() : now.ready ? done(now) : todo(now, link, began));
    }),
  };
}

const off = () => empty("Nobody is paid out here", "This exchange takes and pays no money.");

function done(state) {
  return h("div", { class: "stack" }, h("p", {}, badge("You can be paid", "good"), state.country && h("span", { class: "soft" }, ` in ${state.country}`)),
    h("p", { class: "soft" }, `By request from ${usd(state.leastUsd)}; by itself at ${usd(state.automaticUsd)}, and once a month.`));
}

function todo(state, link, began) {
  const country = field("Country of your bank", "country", { maxlength: "2", placeholder: "US", hint: "Two letters. It cannot be changed.", value: state.country || null, readonly: Boolean(state.country) });
  return h("div", { class: "stack" }, h("p", {}, badge("Not yet", "warn"), h("span", { class: "soft" }, ` ${state.blockedBy}`)),
    form("Onboarding", { submit: "Begin", send: async (values) => {
      const { url } = await post("/api/payouts/onboarding", { country: values.country.trim(), returnUrl: back() });
      fill(link, h("a", { class: "button", href: url, target: "_blank", rel: "noopener noreferrer" }, "Complete your details"), h("span", { class: "hint" }, " It opens in a new tab, and is good for minutes."));
      link.querySelector("a").focus();
      began();
    } }, country));
}

/** Where the payment provider leads back to: this page, if it may be. */
const back = () => (/^(https:|http:\/\/(localhost|127\.0\.0\.1)[:/])/.test(location.href) ? `${location.origin}/` : "");
