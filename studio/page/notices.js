// What the page tells in passing: lines that go away, and where an error has no place of its own.

import { byId, button, make } from "./element.js";

const SHOWN = 7000;
export const UNREACHABLE = "The studio cannot be reached. Try again when it is back.";

/** Shows a line for a while, with an action where one is given. */
export function tell(text, actionText = "", action = null) {
  const toast = make("div", { class: "toast" }, make("span", {}, text));
  const remove = () => toast.remove();
  if (action) toast.append(button(actionText, () => { action(); remove(); }, { class: "button ghost" }));
  byId("toasts").replaceChildren(toast);
  setTimeout(remove, SHOWN);
}

/** Takes away the line that is shown, where it is of something that is there no more. */
export function hush() {
  byId("toasts").replaceChildren();
}

/** What an error says to a person. */
export function lineOf(error) {
  if (error instanceof TypeError) return UNREACHABLE;
  return error.message;
}
