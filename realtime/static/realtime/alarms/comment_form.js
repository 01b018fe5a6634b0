// The form in which somebody writes a comment and acknowledges one alarm or several.

import { make } from "../elements.js";
import { Refused } from "./requests.js";

// `send`: what its button says. `onSend(comment)` returns a promise; `onClose()` is called after sending, and when somebody cancels.
export function commentForm({ id, comment = "", send: text, onSend, onClose }) {
  const form = make("form", "alarm-form");
  const label = make("label", "hidden-visually");
  label.textContent = "Comment";
  const input = make("input", "field");
  input.maxLength = 1000;
  input.placeholder = "Comment (optional)";
  input.value = comment;
  input.id = label.htmlFor = id;
  const send = make("button", "action small primary");
  send.textContent = text;
  const cancel = make("button", "action small");
  cancel.type = "button";
  cancel.textContent = "Cancel";
  const failure = make("p", "alarm-failure");
  failure.setAttribute("role", "alert");
  form.append(label, input, send, cancel, failure);
  cancel.addEventListener("click", onClose);
  form.addEventListener("keydown", (event) => event.key === "Escape" && onClose());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = true;
    failure.textContent = "";
    try {
      await onSend(input.value.trim());
      onClose();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      failure.textContent = `Not acknowledged: ${error.message}`;
      send.disabled = false;
    }
  });
  return form;
}
