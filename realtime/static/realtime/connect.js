// The code for each kind of device: tabs with copy buttons.

import { addButtons } from "./copying.js";
import { tabs } from "./tabs.js";

for (const root of document.querySelectorAll(".connect")) {
  addButtons(root.querySelectorAll("pre"));
  tabs(root);
}
