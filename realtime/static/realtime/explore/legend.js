// The table under a chart: a row for each line, with its statistics or, under the cursor, its values there.

export class Legend {
  // `texts`: { name(id), label(metric), number(metric, value) }; `actions`: { onShow(key, shown), onHighlight(key) }.
  constructor(table, texts, actions) {
    Object.assign(this, { table, texts, actions, rows: new Map() });
    table.addEventListener("pointerleave", () => actions.onHighlight(null));
  }

  show(series, hidden, severalMetrics) {
    this.rows.clear();
    this.table.tBodies[0].replaceChildren(...series.map((one) => this.row(one, hidden.has(one.key), severalMetrics)));
  }

  row(one, isHidden, severalMetrics) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "line";
    button.dataset.series = one.color;
    button.dataset.dash = one.dash ? "true" : "";
    button.setAttribute("aria-pressed", String(!isHidden));
    button.title = one.device;
    button.textContent = severalMetrics ? `${this.texts.name(one.device)} · ${this.texts.label(one.metric)}` : this.texts.name(one.device);
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(shown));
      this.actions.onShow(one.key, shown);
    });
    const head = document.createElement("th");
    head.scope = "row";
    head.append(button);
    const cells = ["now", "min", "avg", "max"].map((name) => {
      const cell = document.createElement("td");
      cell.className = `number ${name}`;
      return cell;
    });
    const row = document.createElement("tr");
    row.append(head, ...cells);
    row.addEventListener("pointerenter", () => this.actions.onHighlight(one.key));
    button.addEventListener("focus", () => this.actions.onHighlight(button.matches(":focus-visible") ? one.key : null));
    button.addEventListener("blur", () => this.actions.onHighlight(null));
    this.rows.set(one.key, cells);
    for (const [n, name] of ["min", "avg", "max"].entries()) cells[n + 1].textContent = one.statistics ? this.texts.number(one.metric, one.statistics[name]) : "–";
    return row;
  }

  // `values`: of each line, in order, or null to empty the column.
  point(series, values) {
    series.forEach((one, n) => {
      const cell = this.rows.get(one.key)?.[0];
      const text = values?.[n] ? this.texts.number(one.metric, values[n].avg) : "";
      if (cell && cell.textContent !== text) cell.textContent = text;
    });
  }
}
