// Short news at the edge of the page, read out by screen readers.
import { h } from "../dom.js";

const SHOWN_MS = 7000;

export function notify(text, { bad = false } = {}) {
  const notice = h("div", { class: `notice ${bad ? "bad" : ""}` }, text);
  document.getElementById("notices").append(notice);
  setTimeout(() => notice.remove(), SHOWN_MS);
}

/** Runs what a button does: the button rests meanwhile, and an error is told. */
export async function attempt(button, work) {
  button.disabled = true;
  try {
    return await work();
  } catch (error) {
    notify(error.message, { bad: true });
    return undefined;
  } finally {
    button.disabled = false;
  }
}
