// One picture of the list: its file, its job on the server, and its entry on the page.

import * as api from "./api.js";

const make = (tag, more = {}) => Object.assign(document.createElement(tag), more);
const THUMBNAIL = 96;

export class Picture {
  // shown: called with the picture when it is chosen, changed: when it has changed,
  // removed: when it has been taken off the list
  constructor(file, { shown, changed, removed }) {
    this.file = file;
    this.strength = 100;
    this.job = null;
    this.changed = changed;
    this.element = make("li");
    this.thumbnail = make("canvas", { width: 0, height: 0 });
    this.thumbnail.setAttribute("aria-hidden", "true");
    this.name = make("span", { className: "name", textContent: file.name });
    this.state = make("span", { className: "state", textContent: "waiting" });
    this.choose = make("button", { type: "button", className: "show" });
    this.choose.append(this.thumbnail, this.name, this.state);
    this.choose.setAttribute("aria-pressed", "false");
    this.choose.addEventListener("click", () => shown(this));
    this.progress = make("progress", { max: 1, value: 0 });
    this.progress.setAttribute("aria-label", `Progress of ${file.name}`);
    this.remove = make("button", { type: "button", className: "remove", textContent: "Cancel" });
    this.remove.addEventListener("click", () => { this.stop(); this.element.remove(); removed(this); });
    this.tell("waiting");
    this.element.append(this.choose, this.progress, this.remove);
    this.draw();
  }

  get done() { return this.job?.state === "done"; }

  // Nothing is drawn for a format that the browser does not know.
  async draw() {
    try {
      const small = await createImageBitmap(this.file, { resizeWidth: THUMBNAIL, resizeQuality: "medium" });
      Object.assign(this.thumbnail, { width: small.width, height: small.height });
      this.thumbnail.getContext("2d").drawImage(small, 0, 0);
      small.close();
    } catch { /* as said */ }
  }

  // Have it restored; resolves when that has ended, in whatever way.
  async restore(task, settings) {
    this.stop();
    this.task = task;
    const control = this.control = new AbortController();
    try {
      this.tell("sending");
      const job = await api.send(task, this.file, settings, control.signal);
      if (control.signal.aborted) { api.forget(job.id); return; }
      this.job = job;
      this.job = await api.follow(job.id, now => this.follow(now), control.signal);
      if (this.job.state === "failed") throw new Error(this.job.detail);
      this.tell(this.done ? "done" : "cancelled");
    } catch (error) {
      if (error.name === "AbortError") return;
      this.tell("failed", error.message);
    } finally {
      if (this.control === control) this.control = null;
    }
  }

  follow(job) {
    if (job.state === "running") {
      this.progress.value = job.total ? job.done / job.total : 0;
      this.tell(job.total ? `${Math.round(100 * job.done / job.total)} %` : "reading");
    } else if (job.state === "waiting") {
      this.tell(job.position ? `waiting, ${job.position} before it` : "waiting");
    }
  }

  tell(state, why = "") {
    this.state.textContent = why ? `${state}: ${why}` : state;
    this.element.dataset.state = state.split(",")[0];
    const ended = ["done", "failed", "cancelled"].includes(state);
    this.progress.hidden = ended;
    this.remove.textContent = ended ? "Remove" : "Cancel";
    this.remove.setAttribute("aria-label", `${this.remove.textContent} ${this.file.name}`);
    this.changed?.(this, ended);
  }

  // Give up what is going on, and have the server forget it.
  stop() {
    this.control?.abort();
    this.control = null;
    if (this.job) api.forget(this.job.id);
    this.job = null;
    this.progress.value = 0;
  }

  // In a few words, for the viewer.
  describe() {
    const { width, height, metrics, notes } = this.job;
    const words = [`${width} × ${height}`, metrics.model];
    if (metrics.sigma !== null) words.push(`noise level ${metrics.sigma.toFixed(1)} of 255`);
    words.push(metrics.unchanged ? "no noise found: left as it is" : `${metrics.seconds.toFixed(1)} s`);
    return [words.join(", "), ...notes].join(". ");
  }
}
