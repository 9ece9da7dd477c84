// What the page has to know of the exchange before it asks: who takes the money there. Told by the bridge.
import { get } from "./api.js";

export const exchange = { gateway: "none", stripePublishableKey: "" };

/** Throws ApiError. */
export async function learn(signal) {
  Object.assign(exchange, await get("/dashboard.json", {}, signal));
}

/** Whether credits can be bought and earnings be paid out. */
export const takesMoney = () => exchange.gateway !== "none";
