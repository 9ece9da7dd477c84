// Figures for people. Money comes as decimal text and stays text, or whole numbers of the last place: never a float.
import { h } from "./dom.js";

const PLACES = 8;

/** A decimal text as an integer of 10^-8. */
export function atoms(text) {
  const [, sign, whole, part = ""] = /^(-?)(\d*)\.?(\d*)$/.exec(text || "0");
  const value = BigInt(whole || "0") * 10n ** BigInt(PLACES) + BigInt(part.slice(0, PLACES).padEnd(PLACES, "0"));
  return sign ? -value : value;
}

/** The inverse of `atoms`. */
export function decimal(value) {
  const digits = (value < 0n ? -value : value).toString().padStart(PLACES + 1, "0");
  return `${value < 0n ? "-" : ""}${digits.slice(0, -PLACES)}.${digits.slice(-PLACES)}`;
}

const grouped = (whole) => whole.replace(/\B(?=(\d{3})+$)/g, ",");

/** Decimal text with two places, or `places`, cut and not rounded; whole thousands apart. */
export function short(text, places = 2) {
  const [whole, part = ""] = (text || "0").split(".");
  const sign = whole.startsWith("-") ? "−" : "";
  return `${sign}${grouped(whole.replace("-", ""))}.${part.padEnd(places, "0").slice(0, places)}`;
}

/** Credits to the last place, the cents of them small, so that a column lines up. */
export function credits(text) {
  const part = (text || "0").split(".")[1] || "";
  return h("span", {}, short(text), h("span", { class: "fine" }, part.padEnd(PLACES, "0").slice(2)));
}

/** Credits for a headline. */
export const bigCredits = (text) => h("span", {}, short(text), " ", h("span", { class: "unit" }, "credits"));

/** What so many credits are in USD: a thousandth. */
export function usdOf(text) {
  return usd(decimal(atoms(text) / 1000n));
}

/** USD with cents, and with more places where it is less than a cent. */
export function usd(text) {
  const [, part = ""] = (text || "0").split(".");
  const value = atoms(text);
  const small = value !== 0n && (value < 0n ? -value : value) < 10n ** BigInt(PLACES - 2);
  const places = small ? Math.min(Math.max(part.replace(/0+$/, "").length, 2), PLACES) : 2;
  const figure = short(text, places);
  return figure.startsWith("−") ? `−$${figure.slice(1)}` : `$${figure}`;
}

/** A price as it is given, trailing zeros beyond the cent dropped. */
export function price(text) {
  if (!text) return "–";
  const [whole, part = ""] = text.split(".");
  return `$${grouped(whole)}.${part.replace(/0+$/, "").padEnd(2, "0")}`;
}

export const count = (value) => Number(value || 0).toLocaleString("en-US");

/** "model" of one, "models" of none or more. */
export const plural = (value, one) => `${one}${Number(value) === 1 ? "" : "s"}`;

/** "1 model", "2 models". */
export const counted = (value, one) => `${count(value)} ${plural(value, one)}`;

export function milliseconds(value) {
  if (value === undefined || value === null) return "–";
  return value >= 10_000 ? `${(value / 1000).toFixed(1)} s` : `${Math.round(value).toLocaleString("en-US")} ms`;
}

export const speed = (value) => (value === undefined || value === null ? "–" : `${Number(value).toFixed(value < 10 ? 1 : 0)} tok/s`);

export function tokens(value) {
  const number = Number(value || 0);
  if (number >= 1e9) return `${(number / 1e9).toFixed(1)} G`;
  if (number >= 1e6) return `${(number / 1e6).toFixed(1)} M`;
  return number >= 10_000 ? `${(number / 1e3).toFixed(0)} k` : count(number);
}

export function bytes(value) {
  return `${(Number(value || 0) / 2 ** 30).toFixed(1)} GiB`;
}

/** A duration, its two largest units. */
export function duration(ms) {
  const seconds = Math.floor(Number(ms) / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`;
}

/** A moment: the time alone if it is of today. */
export function moment(ms) {
  const at = new Date(Number(ms));
  const time = at.toLocaleTimeString("en-GB");
  const text = at.toDateString() === new Date().toDateString() ? time : `${isoDay(at)} ${time.slice(0, 5)}`;
  return h("time", { datetime: at.toISOString(), title: at.toISOString() }, text);
}

const isoDay = (at) => `${at.getFullYear()}-${String(at.getMonth() + 1).padStart(2, "0")}-${String(at.getDate()).padStart(2, "0")}`;

/** yyyymmdd as people write it. */
export const day = (text) => `${text.slice(0, 4)}-${text.slice(4, 6)}-${text.slice(6)}`;

/** A name of the API for people: "circuit_open" is "circuit open". */
export const words = (name) => name.replaceAll("_", " ").toLowerCase();
