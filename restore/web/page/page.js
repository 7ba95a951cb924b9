// The page: pictures come in, settings go to the server, one result is shown.

import * as api from "./api.js";
import { Picture } from "./picture.js";
import { Viewer } from "./viewer.js";

const AT_ONCE = 2;                  // jobs: one is computed while the next is sent
const KEEP = 5 * 60;                // seconds after which the server is told that results are still wanted
const $ = name => document.getElementById(name);
const viewer = new Viewer();
const pictures = new Set(), waiting = [];
let known = [], shown = null, running = 0;

// ---- settings

const task = () => document.querySelector("[name=task]:checked").value;
const say = words => { $("status").textContent = words; };

function settings() {
  const chosen = { model: $("model").value, ensemble: $("ensemble").checked };
  if (task() === "denoise") {
    const detail = $("detail").value;
    return { ...chosen, sigma: $("sigma").value, detail: detail === "" ? "" : detail / 100 };
  }
  return { ...chosen, scale: $("scale").value, strength: $("strength").value / 100 };
}

function listModels() {
  const chosen = task();
  const options = known.filter(model => model.task === chosen).map(model => new Option(model.name, model.name));
  if (chosen === "upscale") options.unshift(new Option("chosen by the size", ""), new Option("the same, fast", "fast"), new Option("bicubic", "bicubic"));
  $("model").replaceChildren(...options);
  const first = known.find(model => model.default && model.task === chosen);
  $("model").value = first?.name ?? "";
  for (const kind of ["denoise", "upscale"]) {
    const part = document.querySelector(`.of-${kind}`);
    part.hidden = kind !== chosen;
    for (const input of part.querySelectorAll("input")) input.disabled = part.hidden;
  }
  hint();
}

function listCards() {
  for (const model of known) {
    const words = [`${model.use}.`, ...model.limits, `Licence of the weights: ${model.licence}.`];
    $("cards").append(
      Object.assign(document.createElement("dt"), { textContent: model.name }),
      Object.assign(document.createElement("dd"), { textContent: words.join(" ") }),
    );
  }
}

function hint() {
  const fixed = shown?.done ? !shown.job.blends : task() === "upscale";
  let words = "Changes the result at once.";
  if (fixed) words = "Of the noise removed first; takes effect when a picture is restored.";
  if (shown?.job?.metrics?.unchanged) words = "Nothing was removed from this picture.";
  $("strength-hint").textContent = words;
}

// ---- pictures

function add(files) {
  const added = [...files].map(file => new Picture(file, { shown: show, changed, removed }));
  for (const picture of added) {
    picture.strength = Number($("strength").value);
    pictures.add(picture);
    $("pictures").append(picture.element);
    enter(picture);
  }
  $("none").hidden = pictures.size > 0;
  if (added.length) say(added.length === 1 ? `${added[0].file.name} added` : `${added.length} pictures added`);
}

function enter(picture) {
  waiting.push([picture, task(), settings()]);
  next();
}

async function next() {
  while (running < AT_ONCE && waiting.length) {
    const [picture, what, how] = waiting.shift();
    if (!pictures.has(picture)) continue;
    running += 1;
    picture.restore(what, how).finally(() => { running -= 1; next(); });
  }
}

function changed(picture, ended) {
  if (!ended) return;
  say(`${picture.file.name}: ${picture.state.textContent}`);
  if (picture.done && (!shown?.done || shown === picture)) show(picture);
  else if (picture === shown) describe();
}

function removed(picture) {
  pictures.delete(picture);
  $("none").hidden = pictures.size > 0;
  const left = [...pictures];
  if (shown === picture) show(left.find(other => other.done) ?? left[0] ?? null);
  (left[0]?.choose ?? $("files")).focus();
}

// ---- the viewer

async function show(picture) {
  shown?.choose.setAttribute("aria-pressed", "false");
  shown = picture;
  picture?.choose.setAttribute("aria-pressed", "true");
  viewer.clear();
  describe();
  if (!picture?.done) return;
  setStrength(picture.strength);
  try {
    await viewer.show(picture.job.id, share(picture));
  } catch (error) {
    if (shown === picture) $("about-shown").textContent = error.message;
  }
}

// An upscaled picture is shown as it was computed.
const share = picture => picture.job.blends ? picture.strength / 100 : 1;

function describe() {
  const done = Boolean(shown?.done);
  $("shown-title").textContent = shown ? shown.file.name : "Before and after";
  $("about-shown").textContent = done ? shown.describe() : shown?.state.textContent
    ?? "The picture appears here when it is restored.";
  $("download").hidden = !done;
  $("again").disabled = !shown;
  if (done) $("save").href = address(shown);
  hint();
}

function address(picture) {
  const choices = { format: $("format").value, strip_metadata: $("strip").checked };
  if (picture.job.blends) choices.strength = picture.strength / 100;
  return api.resultAddress(picture.job.id, choices);
}

function setStrength(percent) {
  $("strength").value = percent;
  $("strength-shown").value = `${percent} %`;
}

function saveAll() {
  for (const picture of pictures) {
    if (!picture.done) continue;
    const link = Object.assign(document.createElement("a"), { href: address(picture), download: "" });
    link.click();
  }
}

// ---- what people do

$("files").addEventListener("change", event => { add(event.target.files); event.target.value = ""; });
addEventListener("paste", event => add(event.clipboardData.files));
addEventListener("dragover", event => { event.preventDefault(); document.body.classList.add("dropping"); });
addEventListener("dragleave", event => { if (!event.relatedTarget) document.body.classList.remove("dropping"); });
addEventListener("drop", event => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  add(event.dataTransfer.files);
});
$("strength").addEventListener("input", event => {
  const percent = Number(event.target.value);
  setStrength(percent);
  if (!shown?.done || !shown.job.blends) return;
  shown.strength = percent;
  viewer.blend(percent / 100);
  $("save").href = address(shown);
});
for (const radio of document.querySelectorAll("[name=task]")) radio.addEventListener("change", listModels);
$("settings").addEventListener("submit", event => {
  event.preventDefault();
  if (!shown) return;
  shown.stop();
  shown.strength = Number($("strength").value);
  shown.tell("waiting");
  viewer.clear();
  describe();
  enter(shown);
});
for (const name of ["format", "strip"]) $(name).addEventListener("change", describe);
$("save-all").addEventListener("click", saveAll);
$("about").addEventListener("click", () => $("models").showModal());
addEventListener("pagehide", () => { for (const picture of pictures) if (picture.job) api.forget(picture.job.id); });
setInterval(() => { for (const picture of pictures) if (picture.done) api.touch(picture.job.id); }, 1000 * KEEP);

setStrength(100);
try {
  known = await api.models();
  listModels();
  listCards();
} catch (error) {
  $("about-shown").textContent = error.message;
}
document.body.dataset.ready = "";
