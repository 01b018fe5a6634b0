// A list of alarms in the page: rows are kept from one drawing to the next.

import { AlarmRow } from "./row.js";

export class AlarmList {
  constructor(box, options) {
    this.box = box;
    this.options = options;
    this.rows = new Map();
  }

  show(alarms) {
    const wanted = new Set(alarms.map(({ id }) => id));
    for (const [id, row] of this.rows) {
      if (wanted.has(id)) continue;
      row.root.remove();
      this.rows.delete(id);
    }
    alarms.forEach((alarm, n) => {
      let row = this.rows.get(alarm.id);
      if (!row) this.rows.set(alarm.id, (row = new AlarmRow(this.options)));
      row.show(alarm);
      // Only move a row that is elsewhere, because moving one takes the focus from it.
      if (this.box.children[n] !== row.root) this.box.insertBefore(row.root, this.box.children[n] ?? null);
    });
  }
}
