// Buttons that copy code.

const SHOWN_MS = 1600;

export async function copy(button, text) {
  const label = button.dataset.label ?? button.textContent;
  button.dataset.label = label;
  button.textContent = (await written(text)) ? "Copied" : "Press Ctrl+C";
  clearTimeout(button.dataset.timer);
  button.dataset.timer = setTimeout(() => (button.textContent = label), SHOWN_MS);
}

async function written(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Browsers have no clipboard over plain http from another machine. Use the older way, which needs a selection.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

// Wraps each <pre> in a box with a button on top of it.
export function addButtons(blocks) {
  for (const block of blocks) {
    const box = document.createElement("div");
    box.className = "code";
    block.replaceWith(box);
    const button = document.createElement("button");
    button.type = "button";
    button.className = "action small copy";
    button.textContent = "Copy";
    button.addEventListener("click", () => copy(button, block.textContent.trimEnd()));
    block.tabIndex = 0; // lets the keyboard scroll it
    box.append(block, button);
  }
}
