// The page: who is signed in decides which views there are, the address which of them is shown.
import { ApiError, get } from "./api.js";
import { fill, h } from "./dom.js";
import { learn } from "./exchange.js";
import { session } from "./session.js";
import { startTheme, themeButton } from "./theme.js";
import { away } from "./views/away.js";
import { consumer } from "./views/consumer.js";
import { keys } from "./views/keys.js";
import { market } from "./views/market.js";
import { operator } from "./views/operator.js";
import { provider } from "./views/provider.js";
import { signIn } from "./views/signin.js";

/** By address: what it is called, for whom, and what shows it, which returns what ends it. */
const VIEWS = {
  market: { title: "Market", about: "Every model that is for sale, now.", show: market },
  account: { title: "Account", about: "What you have, what it was spent on, and how you get more.", role: "consumer", show: consumer },
  provider: { title: "Selling", about: "What you sell, what it earns, and why bids go elsewhere.", role: "provider", show: provider },
  operator: { title: "Exchange", about: "How it is, and what waits for somebody.", role: "operator", show: operator },
  keys: { title: "Keys", about: "API keys of this account.", show: keys },
};
const main = document.getElementById("main");
const top = document.getElementById("top");
let end = () => {};

const mine = () => Object.entries(VIEWS).filter(([, view]) => !view.role || view.role === session.role);

function show({ focus = false } = {}) {
  end();
  const wanted = location.hash.slice(2);
  const [name, view] = mine().find(([one]) => one === wanted) || mine()[0];
  document.title = `${view.title} · GoLLeM`;
  showTop(name);
  const trouble = h("div", { role: "alert" });
  const body = h("div");
  fill(main, h("div", { class: "headline" }, h("h1", {}, view.title), h("p", {}, view.about)), trouble, body);
  const stop = view.show(body, (error) => failed(trouble, error));
  end = typeof stop === "function" ? stop : () => {};
  if (!focus) return;
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
}

/** A view could not ask: said above it, until it can again. */
function failed(trouble, error) {
  if (error instanceof ApiError && error.status === 401) return leave("Your key is no longer valid.");
  return fill(trouble, error ? h("p", { class: "alert bad" }, h("strong", {}, "What you see may be old"), error.message) : []);
}

function showTop(current) {
  const link = ([name, view]) => h("a", { href: `#/${name}`, "aria-current": name === current ? "page" : null }, view.title);
  fill(top, h("div", { class: "brand" }, h("img", { src: "/favicon.svg", alt: "" }), "GoLLeM"),
    h("nav", { "aria-label": "Views" }, mine().map(link)),
    h("div", { class: "who" }, h("span", { class: "account" }, h("strong", {}, session.account), ` ${session.role}`), themeButton(),
      h("button", { class: "button quiet", onclick: () => leave() }, "Sign out")));
}

function leave(why = "") {
  end();
  end = () => {};
  session.end();
  history.replaceState(null, "", location.pathname);
  document.title = "Sign in · GoLLeM";
  showBareTop();
  signIn(main, () => enter().catch(wait), why);
}

/** Without views: nobody is signed in, or it is not known who. */
function showBareTop(...more) {
  fill(top, h("div", { class: "brand" }), h("nav"), h("div", { class: "who" }, themeButton(), more));
}

function start() {
  startTheme();
  return session.key ? enter().catch(wait) : leave();
}

/** Who holds the key, and what the page has to know. Throws ApiError. */
async function enter(signal) {
  const [who] = await Promise.all([get("/api/account", {}, signal), learn(signal)]);
  session.know(who);
  show();
}

/** Only an answer that the key is good for nothing signs anybody out. */
function wait(error) {
  const refused = ({ status }) => status === 401 && leave("Your key is no longer valid.");
  if (refused(error)) return;
  document.title = "No answer · GoLLeM";
  showBareTop(h("button", { class: "button quiet", onclick: () => leave() }, "Sign out"));
  end = away(main, error, enter, refused);
}

addEventListener("hashchange", () => session.role && show({ focus: true }));
start();
