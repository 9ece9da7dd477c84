// Paying: with Stripe's own form, in which no card's number is ever ours to see, or at the exchange's till for development.
import { ApiError } from "../api.js";
import { h } from "../dom.js";
import { exchange } from "../exchange.js";

const STRIPE = "https://js.stripe.com/v3/";

/** What is shown (`element`, and `mount()` once it is on the page), and `confirm()`, which pays or throws. */
export async function startPayment(clientSecret, payUrl) {
  if (!clientSecret) throw new ApiError("This purchase was begun before. Begin another one.");
  return payUrl ? localTill(clientSecret) : stripeForm(clientSecret);
}

function localTill(clientSecret) {
  return {
    element: h("p", { class: "hint" }, "This exchange plays the payment provider itself: no card is asked for, and no money moves."),
    async confirm() {
      const response = await fetch("/local/pay", {
        method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ client_secret: clientSecret }),
      });
      if (!response.ok) throw new ApiError("The payment was refused.");
    },
  };
}

async function stripeForm(clientSecret) {
  const { stripePublishableKey } = exchange;
  if (!stripePublishableKey) throw new ApiError("The operator has not set payments.stripe_publishable_key: cards cannot be taken here.");
  await loadStripe();
  const stripe = window.Stripe(stripePublishableKey);
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark" || document.documentElement.dataset.theme === "dark";
  const elements = stripe.elements({ clientSecret, appearance: { theme: dark ? "night" : "stripe" } });
  const element = h("div", { class: "payment" });
  return {
    element,
    mount: () => elements.create("payment").mount(element),
    async confirm() {
      const { error } = await stripe.confirmPayment({ elements, redirect: "if_required", confirmParams: { return_url: location.href } });
      if (error) throw new ApiError(error.message || "The payment was refused.");
    },
  };
}

/** Stripe's script, from Stripe, as it wants it. Once. */
function loadStripe() {
  if (window.Stripe) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const failed = () => reject(new ApiError("Stripe's form cannot be loaded. Does something block js.stripe.com?"));
    document.head.append(h("script", { src: STRIPE, onload: resolve, onerror: failed }));
  });
}
