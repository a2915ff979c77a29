// Elements of the page: found by id, and made without HTML text, so that no name of a file can become markup.

export const byId = (id) => document.getElementById(id);

const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "textContent", "open", "selected", "indeterminate", "htmlFor"]);

/** Makes an element: `on…` are listeners, known properties are set as such, all else are attributes. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (PROPERTIES.has(name)) element[name] = value;
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const button = (text, onclick, attributes = {}) =>
  make("button", { type: "button", class: "button", onclick, ...attributes }, text);

/** Sets the text of an element only where it differs, so that screen readers hear changes alone. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Opens a dialog with a title; returns it. It is removed when it closes, and the focus goes back. */
export function dialog(title, ...children) {
  const id = `dialog-${Math.random().toString(36).slice(2)}`;
  const close = button("Close", () => box.close(), { class: "button ghost" });
  const box = make("dialog", { class: "dialog", "aria-labelledby": id },
    make("div", { class: "heading" }, make("h2", { id }, title), close), ...children);
  const before = document.activeElement;
  box.addEventListener("close", () => { box.remove(); before?.focus?.(); });
  box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
  document.body.append(box);
  box.showModal();
  return box;
}
