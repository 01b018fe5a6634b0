import { addButtons } from "../copying.js";

addButtons(document.querySelectorAll(".prose pre"));
