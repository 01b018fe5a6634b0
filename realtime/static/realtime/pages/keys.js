import { addButtons } from "../copying.js";

addButtons(document.querySelectorAll(".keys pre"));
