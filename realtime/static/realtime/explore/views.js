// The views that are saved under a name: a list of links, and a form to save what is shown.

import { send } from "./requests.js";
import { Shares } from "./shares.js";

// `root`: the section. `query()`: what is shown, as a query string. `shares`: what may be done with links: { list, add, end }.
export function savedViews(root, views, { query, maySave, mayDelete, shares }) {
  const list = root.querySelector("ul");
  const form = root.querySelector("form");
  const output = root.querySelector("[role=alert]");

  async function attempt(action) {
    try {
      output.textContent = "";
      await action();
    } catch (error) {
      output.textContent = error instanceof TypeError ? "The server cannot be reached." : error.message;
    }
    render();
  }

  function entry(view) {
    const link = document.createElement("a");
    link.href = `/explore/?${view.query}`;
    link.textContent = view.name;
    const place = document.createElement("li");
    place.append(link);
    if (shares.list) place.append(" ", new Shares(view, shares).button);
    if (!mayDelete) return place;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "action small";
    button.textContent = "Delete";
    button.setAttribute("aria-label", `Delete the view ${view.name}`);
    button.addEventListener("click", () => {
      // The first click asks, the second deletes.
      if (button.textContent === "Delete") button.textContent = "Really delete";
      else attempt(async () => {
        await send("DELETE", `/${view.id}`);
        views.splice(views.indexOf(view), 1);
      });
    });
    button.addEventListener("blur", () => (button.textContent = "Delete"));
    place.append(" ", button);
    return place;
  }

  function render() {
    list.replaceChildren(...views.map(entry));
    root.querySelector(".none-yet").hidden = views.length > 0;
  }

  form.hidden = !maySave;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const name = form.elements.name.value.trim();
    attempt(async () => {
      views.push(await send("POST", "", { name, query: query() }));
      views.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
      form.reset();
    });
  });
  render();
}
