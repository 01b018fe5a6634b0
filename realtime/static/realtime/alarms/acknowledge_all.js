// Acknowledges all alarms of the list that nobody has acknowledged: a greenhouse without power is sixty of them.

import { make, set } from "../elements.js";
import { whole } from "../format.js";
import { plural } from "../plural.js";
import { commentForm } from "./comment_form.js";

export class AcknowledgeAll {
  // `alarms()`: those in the list. `onAcknowledge(alarm, comment)` returns a promise.
  constructor(box, { alarms, onAcknowledge }) {
    Object.assign(this, { box, alarms, onAcknowledge, form: null });
    this.button = make("button", "action small");
    this.button.type = "button";
    this.button.addEventListener("click", () => this.open());
    box.append(this.button);
  }

  get waiting() {
    return this.alarms().filter(({ acknowledged_at: at }) => !at);
  }

  // For one alarm its own button is enough.
  draw() {
    const { length } = this.waiting;
    set(this.button, `Acknowledge all ${whole(length)}`);
    this.box.hidden = !this.form && length < 2;
  }

  // Only those that are in the list now, because nobody has seen those that come while somebody types.
  open() {
    const seen = this.waiting;
    this.form = commentForm({
      id: "comment-all",
      send: `Acknowledge ${whole(seen.length)} ${plural(seen.length, "alarm", "alarms")}`,
      onSend: (comment) => this.send(seen, comment),
      onClose: () => {
        this.form.replaceWith(this.button);
        this.form = null;
        this.draw();
        if (!this.box.hidden) this.button.focus();
      },
    });
    this.button.replaceWith(this.form);
    this.form.querySelector("input").focus();
  }

  // One after the other. After a failure, those that are done are not asked again.
  async send(seen, comment) {
    while (seen.length) {
      await this.onAcknowledge(seen[0], comment);
      seen.shift();
    }
  }
}
