// The links that show a saved view to whoever has them: a dialog that lists, makes and ends them.

import { copy } from "../copying.js";
import { localMoment } from "../format.js";
import { send } from "./requests.js";

const LENGTHS = [["+1d", "in 1 day"], ["+7d", "in 7 days"], ["+30d", "in 30 days"], ["+365d", "in 1 year"]];
const USUAL = "+30d";

export class Shares {
  // `may`: { list, add, end }. The dialog is made when it is opened.
  constructor(view, may) {
    Object.assign(this, { view, may });
    this.path = `/${view.id}/shares`;
    this.button = button("Share", `Share the view ${view.name}`, () => this.open());
  }

  async open() {
    this.dialog = make("dialog", "card shares");
    this.dialog.setAttribute("aria-label", `Links to ${this.view.name}`);
    const close = button("Close", "", () => this.dialog.close());
    this.list = make("ul");
    this.fault = make("p", "fault");
    this.fault.setAttribute("role", "alert");
    this.made = make("div", "made");
    this.made.setAttribute("role", "status");
    const words = make("p", "muted", "Whoever has a link sees this view live, without signing in, and nothing else. You can end it at any time.");
    this.dialog.append(make("h2", "", `Share “${this.view.name}”`), words);
    if (this.may.add) this.dialog.append(this.form());
    this.dialog.append(this.made, this.list, this.fault, close);
    this.dialog.addEventListener("close", () => {
      this.dialog.remove(); // with the link that is shown once
      this.button.focus();
    });
    document.querySelector("main").append(this.dialog);
    this.dialog.showModal();
    await this.attempt(() => this.load());
  }

  form() {
    const form = make("form");
    const label = make("label", "", "Ends ");
    const ends = make("select", "field");
    ends.name = "expires_at";
    for (const [value, text] of LENGTHS) ends.add(new Option(text, value, value === USUAL, value === USUAL));
    label.append(ends);
    const submit = make("button", "action primary", "Make a link");
    form.append(label, submit);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.attempt(async () => {
        this.show(await send("POST", this.path, { expires_at: ends.value }));
        await this.load();
      });
    });
    return form;
  }

  show({ url }) {
    const field = make("input", "field");
    field.readOnly = true;
    field.value = url;
    field.setAttribute("aria-label", "The link");
    field.addEventListener("focus", () => field.select());
    const copying = button("Copy", "Copy the link", () => copy(copying, url));
    this.made.replaceChildren(make("p", "", "The link is shown only now. Add ?theme=dark for a dark wall."), field, " ", copying);
    field.focus();
  }

  async load() {
    const { results } = await send("GET", this.path);
    this.list.replaceChildren(...results.map((share) => this.entry(share)));
    if (!results.length) this.list.append(make("li", "muted", "No links yet."));
  }

  entry(share) {
    const place = make("li", "", `${share.hint}…, by ${share.created_by}, ends ${localMoment(Date.parse(share.expires_at))} `);
    if (!this.may.end) return place;
    const end = button("End", `End the link ${share.hint}`, () => {
      // The first click asks, the second ends it.
      if (end.textContent === "End") end.textContent = "Really end";
      else this.attempt(async () => {
        await send("DELETE", `${this.path}/${share.id}`);
        this.made.replaceChildren();
        await this.load();
      });
    });
    end.addEventListener("blur", () => (end.textContent = "End"));
    place.append(end);
    return place;
  }

  async attempt(action) {
    try {
      this.fault.textContent = "";
      await action();
    } catch (error) {
      this.fault.textContent = error instanceof TypeError ? "The server cannot be reached." : error.message;
    }
  }
}

function make(tag, name = "", text = "") {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.textContent = text;
  return made;
}

function button(text, description, onClick) {
  const made = make("button", "action small", text);
  made.type = "button";
  if (description) made.setAttribute("aria-label", description);
  made.addEventListener("click", onClick);
  return made;
}
