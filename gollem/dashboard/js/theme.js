// Light or dark: as the system has it, until somebody chooses. The choice is kept in the browser.
import { h } from "./dom.js";

const KEPT = "gollem-theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

const current = () => document.documentElement.dataset.theme || (dark.matches ? "dark" : "light");

function changed() {
  for (const button of document.querySelectorAll("[data-theme-button]")) name(button);
  document.dispatchEvent(new Event("themechange"));
}

function name(button) {
  button.textContent = current() === "dark" ? "Light" : "Dark";
  button.setAttribute("aria-label", `Use the ${current() === "dark" ? "light" : "dark"} theme`);
}

export function startTheme() {
  const kept = localStorage.getItem(KEPT);
  if (kept) document.documentElement.dataset.theme = kept;
  dark.addEventListener("change", changed);
}

export function themeButton() {
  const button = h("button", { class: "button quiet", "data-theme-button": true, onclick: () => {
    const theme = current() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    localStorage.setItem(KEPT, theme);
    changed();
  } });
  name(button);
  return button;
}
