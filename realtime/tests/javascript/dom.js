// As much of a browser as uPlot and the cards of the device page need to draw. Import this before them.

export class Element {
  constructor(tag = "div") {
    Object.assign(this, { tag, dataset: {}, children: [], parts: new Map(), textContent: "", hidden: false, clientWidth: 900, clientHeight: 168 });
    this.classes = new Set();
    this.classList = { add: (name) => this.classes.add(name), remove: (name) => this.classes.delete(name), contains: (name) => this.classes.has(name) };
    this.style = { setProperty() {} };
    this.attributes = {};
  }

  setAttribute(name, value) {
    this.attributes[name] = value;
  }

  appendChild(child) {
    this.children.push(child);
    return child;
  }

  insertBefore(child) {
    return this.appendChild(child);
  }

  // One part for each selector, made when it is asked for.
  querySelector(selector) {
    if (!this.parts.has(selector)) this.parts.set(selector, new Element());
    return this.parts.get(selector);
  }

  cloneNode() {
    return new Element(this.tag);
  }

  getContext() {
    return (this.context ??= new Context(this));
  }

  getBoundingClientRect() {
    return { left: 0, top: 0, width: this.clientWidth, height: this.clientHeight };
  }

  addEventListener() {}
  removeEventListener() {}
  dispatchEvent() {}
  remove() {}
}

export const LETTER = 7; // the width of every letter

// Remembers the texts and the rectangles that are drawn.
class Context {
  constructor(canvas) {
    Object.assign(this, { canvas, texts: [], bars: [] });
  }

  measureText(text) {
    return { width: text.length * LETTER };
  }

  fillText(text, x, y) {
    this.texts.push({ text, x, y, align: this.textAlign });
  }

  fillRect(...box) {
    this.bars.push(box);
  }

  clearRect() {
    this.texts = [];
    this.bars = [];
  }
}

for (const name of ["save", "restore", "beginPath", "rect", "clip", "moveTo", "lineTo", "stroke", "fill", "translate", "setLineDash"]) {
  Context.prototype[name] = () => {};
}

// Remembers the centres of the points.
class Path {
  static arcs = [];

  arc(x, y) {
    Path.arcs.push([x, y]);
  }

  moveTo() {}
  lineTo() {}
  rect() {}
  closePath() {}
  addPath() {}
}

export const arcs = () => Path.arcs.splice(0);

const matchMedia = () => new Element();
const documentElement = new Element();
Object.assign(globalThis, {
  window: new Element(), HTMLElement: Element, Path2D: Path, matchMedia, devicePixelRatio: 1,
  document: { createElement: (tag) => new Element(tag), documentElement, body: new Element(), addEventListener() {} },
  getComputedStyle: () => ({ getPropertyValue: () => "#0f766e" }),
  ResizeObserver: class { observe() {} },
});
Object.defineProperty(globalThis, "navigator", { value: { language: "en" }, configurable: true });
