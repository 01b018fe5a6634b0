// Elements of the page.

export function make(tag, name = "") {
  const element = document.createElement(tag);
  if (name) element.className = name;
  return element;
}

// Changes the text only if it is another one, because a change costs a layout.
export function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
