// The form of a rule: a sentence with blanks, and what the rule would have done in the last seven days.

import { DeviceChooser } from "../alarms/devices.js";
import { BLANKS, READY_MADE, blank, cleared, fieldsOf, ruleOf } from "../alarms/fields.js";
import { Previewing, summary } from "../alarms/previewing.js";
import { ask } from "../alarms/requests.js";
import { capital, condition, duration } from "../alarms/words.js";
import { Chart, readout } from "../device/chart.js";
import { bandsOf, linesOf } from "../device/marks.js";
import { columns, load } from "../device/series.js";
import { make } from "../elements.js";
import { localMoment, whole } from "../format.js";
import { Catalogue } from "../metrics.js";
import { plural } from "../plural.js";

const WINDOW_SECONDS = 7 * 86_400;
const POINTS = 350;
const TAGS_PROPOSED = 20;

const page = JSON.parse(document.getElementById("page").textContent);
const element = (id) => document.getElementById(id);
const catalogue = new Catalogue(page.catalogue);
const form = element("form");
const blanks = [...form.querySelectorAll("[data-blank]")];
let rule = null; // the one that is changed; null: a new one
let fields = blank(READY_MADE.range);
let named = false; // the name was typed, or is that of a rule
let preview = null;
let chart = null;
let drawn = null; // [device id, its aggregates]
let loading = null;
let wrongInPreview = false; // whether the errors shown are of the preview

const chooser = new DeviceChooser({
  input: element("device-input"), options: element("device-options"), box: element("devices-chosen"), chosen: [],
  offered: page.devices, onChange: changed,
});
const tagChooser = new DeviceChooser({
  input: element("tag-input"), options: element("tag-options"), box: element("tags-chosen"), chosen: [],
  offered: tagsLike(""), onChange: changed, search: async (text) => tagsLike(text),
});
const previewing = new Previewing(
  (rule) => ask("POST", "/api/v1/alarm-rules/preview", { body: { rule } }),
  showPreview,
);

function tagsLike(text) {
  const wanted = text.toLowerCase();
  return page.tags.filter((name) => name.toLowerCase().includes(wanted)).slice(0, TAGS_PROPOSED).map((name) => [name, name]);
}

// Whom the rule is about: the devices that it names, or that have all of its tags; without both, all devices.
function scope() {
  const whom = element("whom").value;
  return { devices: whom === "some" ? chooser.ids : [], tags: whom === "tagged" ? tagChooser.ids : [] };
}

// Whether something is still to be chosen: "" or what to say.
function unchosen() {
  const whom = element("whom").value;
  if (whom === "some" && !chooser.ids.length) return "Choose a device.";
  return whom === "tagged" && !tagChooser.ids.length ? "Choose a tag." : "";
}

// The rule, or null while a blank is empty.
function current() {
  const { rule, missing } = ruleOf(fields);
  return missing.length ? null : { ...rule, ...scope() };
}

function fill() {
  for (const box of blanks) box.value = fields[box.dataset.blank];
  showParts();
}

function showParts() {
  for (const part of form.querySelectorAll("[data-for]")) {
    part.hidden = !part.dataset.for.split(" ").some((condition) => condition.split("+").every(holds));
  }
  const unit = catalogue.unit(fields.metric);
  for (const place of form.querySelectorAll(".unit-of-metric")) place.textContent = unit;
  element("devices-part").hidden = element("whom").value !== "some";
  element("tags-part").hidden = element("whom").value !== "tagged";
}

// "threshold", or "side:above": whether a blank has this value.
function holds(condition) {
  const [name, value] = condition.includes(":") ? condition.split(":") : ["kind", condition];
  return fields[name] === value;
}

// Several boxes may be for one blank, in the sentences of different kinds.
function typed({ dataset, value }) {
  fields[dataset.blank] = value;
  for (const box of blanks) if (box.dataset.blank === dataset.blank && box.value !== value) box.value = value;
}

function changed() {
  if (fields.kind !== "silence" && !fields.metric) fields.metric = element("metric").value = page.metrics[0];
  showParts();
  const rule = current();
  if (!named) element("name").value = rule ? capital(condition({ ...rule, above: rule.above ?? null, below: rule.below ?? null }, catalogue)).slice(0, 100) : "";
  const wanted = rule && !unchosen() ? rule : null;
  if (wanted === null) say(unchosen() || "Fill in the blanks to see what the rule would have done.");
  previewing.want(wanted);
}

function say(text, state = "") {
  element("preview-words").textContent = text;
  element("preview").dataset.state = state;
}

function showPreview(rule, answer, error) {
  if (wrongInPreview) showWrong([]); // what was wrong when the rule was to be saved stays
  if (error) {
    showWrong(error.fields.map(([field, detail]) => [field.replace(/^rule\./, ""), detail]));
    wrongInPreview = true;
    say(error.fields.length ? "This rule is not possible." : error.message, "failed");
    return;
  }
  if (!answer) {
    say("Checking the last seven days …", "busy");
    return;
  }
  preview = { rule, ...summary(answer) };
  const { alarms, devices, open, byDevice } = preview;
  const some = `${whole(alarms)} ${plural(alarms, "alarm", "alarms")} in the last 7 days`;
  const of = `${whole(devices)} ${plural(devices, "device", "devices")}`;
  const now = !open ? "" : alarms === 1 ? " It would be open now." : ` ${whole(open)} of them would be open now.`;
  const cut = answer.truncated ? " This is part of the answer: a preview ends after 5 seconds, 200,000 readings or 1,000 alarms." : "";
  const none = devices ? `No alarm in the last 7 days, on ${of}.` : "No device has reported this yet.";
  say(alarms ? `${answer.truncated ? "At least " : ""}${some}, on ${whole(byDevice.length)} of ${of}.${now}${cut}` : `${none}${cut}`, alarms ? "some" : "none");
  offerDevices();
}

// The devices with alarms, those with most first; without any, the first device that the rule is about.
function offerDevices() {
  const select = element("shown");
  const before = select.value;
  const some = preview.byDevice.slice(0, 100).map(([id, alarms]) => new Option(`${id}: ${alarms.length} ${plural(alarms.length, "alarm", "alarms")}`, id));
  // Of a rule by tags, only the server knows the devices without alarms.
  const ofRule = preview.rule.tags.length ? [] : preview.rule.devices.length ? preview.rule.devices : page.devices.map(([id]) => id);
  const others = ofRule.filter((id) => !preview.byDevice.some(([other]) => other === id));
  select.replaceChildren(...some, ...others.slice(0, 20).map((id) => new Option(`${id}: no alarm`, id)));
  if ([...select.options].some(({ value }) => value === before)) select.value = before;
  element("picture").hidden = select.options.length === 0;
  draw();
}

async function draw() {
  const deviceId = element("shown").value;
  if (!deviceId) return;
  const end = Date.now() / 1000;
  const bounds = { start: end - WINDOW_SECONDS, end };
  if (drawn?.[0] !== deviceId) {
    loading?.abort();
    const { signal } = (loading = new AbortController());
    try {
      drawn = [deviceId, await load(deviceId, bounds, POINTS, null, signal)];
    } catch (error) {
      if (signal.aborted) return;
      drawn = null;
      element("picture-none").textContent = `The chart could not be loaded: ${error.message}`;
      element("picture-none").hidden = false;
      return;
    }
  }
  const { rule, byDevice } = preview;
  const metric = rule.metric ?? page.metrics.find((name) => Object.hasOwn(drawn[1].totals, name)) ?? null;
  chart ??= new Chart(element("chart"), { onZoom() {}, onReset() {}, onPoint: showPoint, label: "Values and alarms", far: true });
  const alarms = byDevice.find(([id]) => id === deviceId)?.[1] ?? [];
  chart.mark({ bands: bandsOf(alarms.map((alarm) => ({ ...alarm, severity: rule.severity })), metric ?? alarms[0]?.metric), lines: linesOf([rule], metric) });
  const shown = metric ? columns(drawn[1], metric, [], { told: null, usual: 60 }) : [[], [], [], []];
  chart.draw(shown, bounds);
  chart.unit = catalogue.unit(metric);
  element("picture-none").hidden = shown[0].length > 0;
  element("picture-none").textContent = "No values in the last 7 days";
  const words = `${whole(alarms.length)} ${plural(alarms.length, "alarm", "alarms")}`;
  chart.plot.root.setAttribute("aria-label", `${metric ? capital(catalogue.label(metric)) : "Values"} of ${deviceId} in the last 7 days, with ${words}`);
}

function showPoint(point) {
  element("readout").textContent = point ? `${localMoment(point.moment)} · ${readout(point, chart.unit)}` : "";
}

// [[field of the API, what is wrong]]
function showWrong(wrong) {
  wrongInPreview = false;
  const of = new Map(wrong.map(([field, detail]) => [BLANKS[field.split(".")[0]] ?? "", detail]));
  for (const box of form.querySelectorAll("[data-blank], #name, #text, #device-input, #tag-input")) {
    const name = box.dataset.blank ?? { "device-input": "devices", "tag-input": "tags" }[box.id] ?? box.id;
    box.toggleAttribute("aria-invalid", of.has(name));
    if (of.has(name)) box.setAttribute("aria-invalid", "true");
  }
  element("wrong").hidden = wrong.length === 0;
  element("wrong").replaceChildren(
    ...wrong.map(([, detail]) => {
      const line = document.createElement("p");
      line.textContent = detail;
      return line;
    }),
  );
}

const channelBoxes = () => [...element("channels").querySelectorAll("input")];

async function save() {
  const { rule: said, missing } = ruleOf(fields);
  if (missing.length) {
    form.querySelector(`[data-blank="${missing[0]}"]`).focus();
    showWrong([[Object.keys(BLANKS).find((field) => BLANKS[field] === missing[0]), "Fill in this blank with a number."]]);
    return;
  }
  if (unchosen()) {
    const field = element("whom").value === "some" ? "devices" : "tags";
    element(field === "devices" ? "device-input" : "tag-input").focus();
    showWrong([[field, `${unchosen().slice(0, -1)}, or let the rule apply to all devices.`]]);
    return;
  }
  const channels = channelBoxes().filter(({ checked }) => checked).map(({ value }) => Number(value));
  const repeat = channels.length && element("repeat").value ? Number(element("repeat").value) : null;
  const body = { ...(rule ? cleared(said) : said), name: element("name").value, text: element("text").value, ...scope(), channels, repeat };
  if (rule) delete body.kind;
  element("save").disabled = true;
  showWrong([]);
  try {
    await ask(rule ? "PATCH" : "POST", rule ? `/api/v1/alarm-rules/${rule.id}` : "/api/v1/alarm-rules", { body });
    location.assign("/alarms/rules/");
  } catch (error) {
    element("save").disabled = false;
    const gone = error.status === 404 ? "Somebody else has deleted this rule." : error.message;
    showWrong(error.fields.length ? error.fields : [["", gone]]);
    element("wrong").scrollIntoView({ block: "nearest" });
  }
}

// Fills the form with a rule, as the API returns it.
function take(given) {
  rule = given;
  named = true;
  fields = fieldsOf(rule);
  if (fields.metric && !page.metrics.includes(fields.metric)) element("metric").add(new Option(catalogue.label(fields.metric), fields.metric));
  element("name").value = rule.name;
  element("text").value = rule.text;
  element("whom").value = rule.tags.length ? "tagged" : rule.devices.length ? "some" : "all";
  chooser.ids = [...rule.devices];
  chooser.draw();
  tagChooser.ids = [...rule.tags];
  tagChooser.draw();
  for (const box of channelBoxes()) box.checked = rule.channels.includes(Number(box.value));
  const repeat = element("repeat");
  if (rule.repeat && ![...repeat.options].some(({ value }) => value === String(rule.repeat))) repeat.add(new Option(`every ${duration(rule.repeat)}`, rule.repeat));
  repeat.value = rule.repeat ?? "";
}

for (const metric of page.metrics) element("metric").add(new Option(catalogue.label(metric), metric));
element("repeat-part").hidden = page.channels.length === 0;
element("no-channels").hidden = page.channels.length > 0;
for (const { id, name } of page.channels) {
  const label = make("label", "choice");
  const box = make("input");
  box.type = "checkbox";
  box.value = id;
  box.checked = !page.id && page.channels.length === 1; // somebody who makes a rule wants to hear of it
  label.append(box, name);
  element("channels").append(label);
}
form.addEventListener("input", (event) => {
  if (event.target.id === "name") named = event.target.value !== "";
  if (event.target.dataset.blank) typed(event.target);
  if (event.target.dataset.blank || event.target.id === "whom") changed();
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  save();
});
for (const button of document.querySelectorAll("[data-ready]")) {
  button.addEventListener("click", () => {
    fields = blank(READY_MADE[button.dataset.ready]);
    element("name").value = fields.name;
    named = true;
    fill();
    changed();
  });
}
element("shown").addEventListener("change", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => chart?.recolor());
if (page.id) {
  try {
    take(await ask("GET", `/api/v1/alarm-rules/${page.id}`));
  } catch (error) {
    showWrong([["", `The rule could not be loaded. ${error.message}`]]);
    element("save").disabled = true;
  }
}
fill();
changed();
form.inert = false; // what is typed before would be lost
