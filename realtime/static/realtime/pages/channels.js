// The page of channels, where messages about alarms go.

import { ask } from "../alarms/requests.js";
import { make, set } from "../alarms/row.js";
import { addButtons } from "../copying.js";
import { whole } from "../format.js";
import { plural } from "../plural.js";

const element = (id) => document.getElementById(id);
const HINTS = {
  webhook: ["Address", "https://example.org/hook"],
  apprise: ["Apprise URL", "ntfy://my-secret-topic"],
  email: ["E-mail address", "ada@example.org"],
};
const WORDS = { webhook: "webhook", apprise: "Apprise", email: "e-mail" };

function row(channel) {
  const root = make("li", "rule");
  const kind = root.appendChild(make("span", "muted"));
  set(kind, WORDS[channel.kind]);
  const words = root.appendChild(make("div"));
  set(words.appendChild(make("p", "rule-name")), channel.name);
  set(words.appendChild(make("p", "muted")), channel.target);
  const actions = root.appendChild(make("div", "actions"));
  const result = root.appendChild(make("p", "question"));
  result.setAttribute("role", "status");
  const test = actions.appendChild(button("Send a test", channel.name));
  test.addEventListener("click", async () => {
    test.disabled = true;
    set(result, "Sending …");
    try {
      const { delivered, detail, answer } = await ask("POST", `/api/v1/channels/${channel.id}/test`);
      set(result, [delivered ? "Delivered." : "Not delivered.", detail, answer && `The receiver says: ${answer}`].filter(Boolean).join(" "));
    } catch (error) {
      set(result, error.message);
    }
    test.disabled = false;
  });
  const remove = actions.appendChild(button("Delete", channel.name));
  remove.addEventListener("click", () => question(root, channel, remove));
  return root;
}

function question(root, channel, remove) {
  const box = root.appendChild(make("div", "question notice bad"));
  set(box.appendChild(make("p")), `Delete the channel “${channel.name}”? Rules no longer send messages to it, and what waits for it is dropped.`);
  const answers = box.appendChild(make("div", "actions"));
  const yes = answers.appendChild(button("Delete the channel", ""));
  yes.classList.add("primary");
  const no = answers.appendChild(button("Keep it", ""));
  const close = () => {
    box.remove();
    remove.disabled = false;
    remove.focus();
  };
  no.addEventListener("click", close);
  box.addEventListener("keydown", (event) => event.key === "Escape" && close());
  yes.addEventListener("click", async () => {
    try {
      const { dropped } = await ask("DELETE", `/api/v1/channels/${channel.id}`);
      root.remove();
      element("heading").focus();
      set(element("told"), dropped ? `${whole(dropped)} ${plural(dropped, "message was", "messages were")} dropped.` : "");
      element("none").hidden = element("list").childElementCount > 0;
    } catch (error) {
      set(box.firstChild, error.message);
    }
  });
  remove.disabled = true;
  no.focus();
}

function button(text, of) {
  const made = make("button", "action small");
  made.type = "button";
  set(made, text);
  if (of) made.setAttribute("aria-label", `${text}: ${of}`);
  return made;
}

function showKind() {
  const [label, example] = HINTS[element("kind").value];
  set(element("target-label"), label);
  element("target").placeholder = example;
  for (const hint of document.querySelectorAll("[data-kind]")) hint.hidden = hint.dataset.kind !== element("kind").value;
}

async function create() {
  element("create").disabled = true;
  element("wrong").hidden = true;
  const body = { name: element("name").value, kind: element("kind").value, target: element("target").value.trim() };
  try {
    const channel = await ask("POST", "/api/v1/channels", { body });
    element("list").append(row(channel));
    element("none").hidden = true;
    element("form").reset();
    showKind();
    showSecret(channel.secret);
  } catch (error) {
    element("wrong").hidden = false;
    set(element("wrong"), error.fields.map(([field, detail]) => `${field}: ${detail}`).join(" ") || error.message);
  }
  element("create").disabled = false;
}

function showSecret(secret) {
  element("secret").hidden = !secret;
  if (!secret) return;
  const code = make("pre");
  code.textContent = secret;
  element("secret-code").replaceChildren(code);
  addButtons([code]);
  element("secret").focus();
}

async function load() {
  try {
    const { results } = await ask("GET", "/api/v1/channels");
    element("failure").hidden = true;
    element("list").replaceChildren(...results.map(row));
    element("none").hidden = results.length > 0;
  } catch (error) {
    element("failure").hidden = false;
    set(element("failure"), `The channels could not be loaded. ${error.message} Trying again …`);
    setTimeout(load, 5000);
  }
}

element("kind").addEventListener("change", showKind);
element("form").addEventListener("submit", (event) => {
  event.preventDefault();
  create();
});
showKind();
load();
