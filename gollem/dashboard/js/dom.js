// Elements by description. Text is always text: nothing that a server says is ever read as HTML.

/** An element of this tag. `attributes` with on... are listeners; those that are null, undefined or false are left out.
 * Children are nodes, texts, or lists of them; what is null or false is left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Put these in the place of all that the element has. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A card: a heading and what stands below it. */
export function card(title, { about = null, actions = null, size = "" } = {}, ...children) {
  const id = `card-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  return h("section", { class: `card ${size}`.trim(), "aria-labelledby": id },
    h("header", {}, h("h2", { id }, title), actions, about && h("p", {}, about)), children);
}

/** What there will be here, and what to do for it. */
export function empty(title, ...advice) {
  return h("div", { class: "empty" }, h("strong", {}, title), advice);
}
