// The picture before and after, in the element <before-after>; the strength is blended here.

import * as api from "./api.js";

const stage = document.querySelector("#stage");
const wide = matchMedia("(color-gamut: p3)").matches ? "display-p3" : "srgb";

function canvas(name, { width, height }) {
  const made = Object.assign(document.createElement("canvas"), { width, height });
  made.setAttribute("aria-label", name);
  return made;
}

export class Viewer {
  #sides = null;
  #turn = 0;

  // Fetch and show the result of a job.
  async show(id, strength) {
    const turn = ++this.#turn;
    this.clear();
    const [before, after] = await Promise.all([api.view(id, "before"), api.view(id, "after")]);
    if (turn !== this.#turn) { before.close(); after.close(); return; }   // another was chosen meanwhile
    this.#sides = { before, after };
    const original = canvas("before", after);
    original.getContext("2d", { colorSpace: wide }).drawImage(before, 0, 0);
    this.blended = canvas("after", after);
    this.blend(strength);
    const slider = document.createElement("before-after");
    slider.setAttribute("zoom", "fit");
    slider.append(original, this.blended);
    stage.replaceChildren(slider);
  }

  // What the pipeline does with the strength, from 0 to 1: a share of each picture, alpha too.
  blend(strength) {
    if (!this.#sides) return;
    const paint = this.blended.getContext("2d", { colorSpace: wide });
    paint.globalCompositeOperation = "copy";
    paint.globalAlpha = 1 - strength;
    paint.drawImage(this.#sides.before, 0, 0);
    paint.globalCompositeOperation = "lighter";
    paint.globalAlpha = strength;
    paint.drawImage(this.#sides.after, 0, 0);
  }

  clear() {
    this.#sides?.before.close();
    this.#sides?.after.close();
    this.#sides = null;
    stage.replaceChildren();
  }
}
