// Forms: a label for each field, and what is wrong with it below it, in the exchange's own words.
import { h } from "../dom.js";
import { notify } from "./notice.js";

let made = 0;

/** A field with its label. `name` is the field's in the API, so that an error finds it. */
export function field(label, name, { hint = null, control = null, ...attributes } = {}) {
  const id = `field-${(made += 1)}`;
  const input = control || h("input", { type: "text", autocomplete: "off", ...attributes });
  input.id = id;
  input.name = name;
  input.setAttribute("aria-describedby", `${id}-fault`);
  return h("div", { class: "field" }, h("label", { for: id }, label), input, hint && h("span", { class: "hint" }, hint),
    h("span", { class: "fault", id: `${id}-fault`, role: "alert" }));
}

/** A form whose `send(values, form)` runs when it is sent; its errors are shown at their fields, or told. */
export function form(label, { send, submit, extra = null }, ...children) {
  const button = h("button", { class: "button main", type: "submit" }, submit);
  const element = h("form", { "aria-label": label, novalidate: true }, children, h("div", { class: "row" }, button, extra));
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    clear(element);
    button.disabled = true;
    try {
      await send(Object.fromEntries(new FormData(element)), element);
    } catch (error) {
      if (!blame(element, error)) notify(error.message, { bad: true });
    } finally {
      button.disabled = false;
    }
  });
  return element;
}

function clear(element) {
  for (const input of element.elements) {
    input.removeAttribute("aria-invalid");
    const fault = document.getElementById(`${input.id}-fault`);
    if (fault) fault.textContent = "";
  }
}

function blame(element, error) {
  const input = error.field && element.elements.namedItem(error.field);
  const fault = input && document.getElementById(`${input.id}-fault`);
  if (!fault) return false;
  fault.textContent = error.figures.rule || error.message;
  input.setAttribute("aria-invalid", "true");
  input.focus();
  return true;
}

export function select(options, chosen = "") {
  return h("select", {}, options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
}
