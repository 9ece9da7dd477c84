// Questions and secrets in front of the page. The browser keeps the focus inside, and gives it back.
import { h } from "../dom.js";

/** Asks; true if the answer is yes. */
export function confirm(title, text, yes) {
  return new Promise((resolve) => {
    const { element, close } = open(title, [h("p", {}, text), h("div", { class: "row" },
      h("button", { class: "button main", onclick: () => { resolve(true); close(); } }, yes),
      h("button", { class: "button", onclick: () => close() }, "Cancel"))]);
    element.addEventListener("close", () => resolve(false));
  });
}

/** Shows something once, with a button that copies it. */
export function reveal(title, text, secret) {
  const copy = h("button", { class: "button main", onclick: async () => {
    await navigator.clipboard.writeText(secret);
    copy.textContent = "Copied";
  } }, "Copy");
  const { close } = open(title, [h("p", {}, text), h("p", { class: "secret" }, secret),
    h("div", { class: "row" }, copy, h("button", { class: "button", onclick: () => close() }, "Done"))]);
}

function open(title, children) {
  const element = h("dialog", { "aria-labelledby": "dialog-title" }, h("div", { class: "stack" }, h("h2", { id: "dialog-title" }, title), children));
  element.addEventListener("close", () => element.remove());
  document.body.append(element);
  element.showModal();
  return { element, close: () => element.close() };
}
