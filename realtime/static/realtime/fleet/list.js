// A long list that has only the visible rows in the page, so ten thousand devices cost as much as ten.

const BEYOND = 8; // rows kept above and below the screen, for scrolling and the Tab key

export class List {
  // `makeRow()` returns a Row. `onVisible(items)` is called with the items that are visible.
  constructor(box, makeRow, onVisible) {
    this.box = box;
    this.makeRow = makeRow;
    this.onVisible = onVisible;
    this.items = [];
    this.rows = new Map(); // item → Row
    this.spare = [];
    this.rowHeight = 0;
    addEventListener("scroll", () => this.request(), { passive: true });
    addEventListener("resize", () => this.measure());
  }

  set(items) {
    this.items = items;
    this.places = new Map(items.map((item, place) => [item, place]));
    this.measure();
  }

  measure() {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    this.rowHeight = parseFloat(getComputedStyle(this.box).getPropertyValue("--row")) * rem;
    this.box.style.height = `${this.items.length * this.rowHeight}px`;
    this.top = this.box.getBoundingClientRect().top + scrollY;
    this.render();
  }

  request() {
    if (this.requested) return;
    this.requested = requestAnimationFrame(() => {
      this.requested = 0;
      this.render();
    });
  }

  render() {
    const first = Math.max(0, Math.floor((scrollY - this.top) / this.rowHeight) - BEYOND);
    const last = Math.min(this.items.length, Math.ceil((scrollY - this.top + innerHeight) / this.rowHeight) + BEYOND);
    const wanted = this.items.slice(first, Math.max(first, last));
    const stays = new Set(wanted);
    for (const [item, row] of this.rows) {
      if (stays.has(item)) continue;
      this.rows.delete(item);
      row.root.remove();
      this.spare.push(row);
    }
    let before = null;
    wanted.forEach((item, n) => {
      let row = this.rows.get(item);
      if (!row) this.rows.set(item, (row = this.spare.pop() ?? this.makeRow()));
      this.place(row, item, first + n);
      // Keep the order of the list, for the Tab key and for screen readers.
      const after = before ? before.root.nextSibling : this.box.firstChild;
      if (row.root !== after) this.box.insertBefore(row.root, after);
      before = row;
    });
    this.onVisible(wanted);
  }

  place(row, item, place) {
    row.root.style.transform = `translateY(${place * this.rowHeight}px)`;
    row.show(item, place);
  }

  // Draws these items again, if they are on the screen.
  refresh(items) {
    for (const item of items) this.rows.get(item)?.show(item, this.places.get(item));
  }
}
