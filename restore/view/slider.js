// <before-after>: two pictures of one place on top of each other, with a divider, zoom and pan.
//
//   <before-after><img src="noisy.png" alt="before"><img src="clean.png" alt="after"></before-after>
//
// Children: two <img> or <canvas>; the second one's size is the picture's. Their names (alt, or
// aria-label) are shown. Attributes: zoom="fit" to begin with the whole picture, not at 100 %.
// At a zoom of 1 (100 %), a pixel of the picture is a pixel of the screen.
"use strict";
(() => {
  const LEAST = 1 / 32, MOST = 32, GRIP = 22;
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const make = (tag, name, more = {}) => Object.assign(document.createElement(tag), { className: name }, more);

  class BeforeAfter extends HTMLElement {
    connectedCallback() {
      if (this.stage) { this.watch(); return; }
      const pictures = [...this.children].filter(child => child.matches("img, canvas"));
      if (pictures.length < 2) {                       // the parser has not come to them yet
        document.addEventListener("DOMContentLoaded", () => this.connectedCallback(), { once: true });
        return;
      }
      [this.first, this.second] = pictures;
      this.share = 0.5;
      this.build();
      this.listen();
      this.watch();
      this.begin();
    }

    disconnectedCallback() { this.observer?.disconnect(); }

    // ---- what others may use

    get position() { return this.share; }
    set position(share) { this.share = clamp(share, 0, 1); this.render(); }

    // Zoom about a point of the stage, in pixels of the page; by default about its middle.
    zoomTo(zoom, x = this.stage.clientWidth / 2, y = this.stage.clientHeight / 2) {
      const next = clamp(zoom, LEAST, MOST), factor = next / this.zoom;
      this.left = x - (x - this.left) * factor;
      this.top = y - (y - this.top) * factor;
      this.zoom = next;
      this.render();
    }

    // The whole picture; never larger than 100 %.
    fit() {
      const [width, height] = this.size();
      this.zoom = Math.min(1, this.stage.clientWidth * this.ratio / width,
        this.stage.clientHeight * this.ratio / height);
      this.render();
    }

    // Show other pictures of the same kind: call it when a child has got another size.
    begin() {
      const [width, height] = this.size();
      if (!width) return;                              // not loaded yet: `load` calls this again
      this.stage.style.height = `${clamp(height / this.ratio, 180, innerHeight * .72)}px`;
      this.zoom = 1;
      this.left = (this.stage.clientWidth - width / this.ratio) / 2;
      this.top = (this.stage.clientHeight - height / this.ratio) / 2;
      if (this.getAttribute("zoom") === "fit") this.fit(); else this.render();
    }

    // ---- inside

    get ratio() { return window.devicePixelRatio || 1; }

    size() { return [this.second.naturalWidth ?? this.second.width, this.second.naturalHeight ?? this.second.height]; }

    nameOf(picture) { return picture.getAttribute("aria-label") || picture.alt || ""; }

    build() {
      this.stage = make("div", "ba-stage", { tabIndex: 0 });
      this.stage.setAttribute("role", "group");
      this.stage.setAttribute("aria-label", "Picture: arrow keys pan, plus and minus zoom, 1 is 100 %, 0 fits");
      const layers = make("div", "ba-pictures");
      const below = make("div", "ba-layer ba-second"), above = make("div", "ba-layer ba-first");
      this.cover = above;
      below.append(this.second);
      above.append(this.first);
      layers.append(below, above);
      this.divider = make("div", "ba-divider");
      this.tags = [make("span", "ba-tag ba-left"), make("span", "ba-tag ba-right")];
      this.stage.append(layers, this.divider, ...this.tags);
      this.append(this.stage, this.tools());
    }

    tools() {
      const tools = make("div", "ba-tools");
      this.range = make("input", "", { type: "range", min: 0, max: 100, step: "any", value: 50 });
      this.range.setAttribute("aria-label", "Divider between the two pictures");
      this.range.addEventListener("input", () => { this.position = this.range.value / 100; });
      this.shown = make("output", "");
      this.shown.setAttribute("aria-label", "Zoom");
      const button = (text, name, act) => {
        const made = make("button", "", { type: "button", textContent: text, title: name });
        made.setAttribute("aria-label", name);
        made.addEventListener("click", act);
        return made;
      };
      const difference = make("input", "", { type: "checkbox" });
      difference.addEventListener("change", () => this.stage.classList.toggle("ba-difference", difference.checked));
      const label = make("label", "");
      label.append(difference, "Difference \u00d78");
      tools.append(this.range, this.shown,
        button("\u2212", "Zoom out", () => this.zoomTo(this.zoom / 2)),
        button("+", "Zoom in", () => this.zoomTo(this.zoom * 2)),
        button("100 %", "One pixel of the picture is one of the screen", () => this.zoomTo(1)),
        button("Fit", "The whole picture", () => this.fit()), label);
      return tools;
    }

    listen() {
      for (const picture of [this.first, this.second]) {
        picture.addEventListener("load", () => this.zoom && picture === this.first ? this.render() : this.begin());
      }
      const stage = this.stage, fingers = new Map();
      let last = null;
      const place = event => {
        const box = stage.getBoundingClientRect();
        return [event.clientX - box.left, event.clientY - box.top];
      };
      stage.addEventListener("pointerdown", event => {
        if (event.button) return;
        stage.setPointerCapture(event.pointerId);
        fingers.set(event.pointerId, place(event));
        last = { divider: this.grips(place(event)[0]), spread: 0 };
        if (fingers.size === 1) this.drag(last, place(event), place(event));
        stage.classList.add("ba-dragging");
      });
      stage.addEventListener("pointermove", event => {
        const now = place(event);
        if (!fingers.has(event.pointerId)) {
          stage.classList.toggle("ba-on-divider", this.grips(now[0]));
          return;
        }
        const before = fingers.get(event.pointerId);
        fingers.set(event.pointerId, now);
        if (fingers.size === 1) this.drag(last, before, now);
        else if (fingers.size === 2) this.pinch(last, [...fingers.values()]);
      });
      for (const end of ["pointerup", "pointercancel"]) {
        stage.addEventListener(end, event => {
          fingers.delete(event.pointerId);
          if (last) last.spread = 0;
          if (!fingers.size) stage.classList.remove("ba-dragging");
        });
      }
      // A page is scrolled by the wheel until the picture has been clicked on; a trackpad's pinch zooms at once.
      stage.addEventListener("wheel", event => {
        if (!event.ctrlKey && document.activeElement !== stage) return;
        event.preventDefault();
        this.zoomTo(this.zoom * 2 ** (-event.deltaY / (event.ctrlKey ? 100 : 400)), ...place(event));
      }, { passive: false });
      stage.addEventListener("dblclick", event => this.zoom === 1 ? this.fit() : this.zoomTo(1, ...place(event)));
      stage.addEventListener("keydown", event => this.key(event));
    }

    watch() {
      this.observer = new ResizeObserver(() => this.zoom && this.render());
      this.observer.observe(this.stage);
    }

    // Whether a pointer there takes hold of the divider; where nothing can be panned, everywhere.
    grips(x) { return this.fits() || Math.abs(x - this.border) <= GRIP; }

    fits() {
      const [width, height] = this.size(), scale = this.zoom / this.ratio;
      return width * scale <= this.stage.clientWidth + 1 && height * scale <= this.stage.clientHeight + 1;
    }

    drag(how, from, to) {
      if (how.divider) {
        const [low, high] = this.extent();
        this.position = (to[0] - low) / Math.max(1, high - low);
        return;
      }
      this.left += to[0] - from[0];
      this.top += to[1] - from[1];
      this.render();
    }

    pinch(how, [one, other]) {
      const spread = Math.hypot(one[0] - other[0], one[1] - other[1]);
      if (how.spread) this.zoomTo(this.zoom * spread / how.spread, (one[0] + other[0]) / 2, (one[1] + other[1]) / 2);
      how.spread = spread;
    }

    key(event) {
      const step = event.shiftKey ? 240 : 40;
      const pan = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] }[event.key];
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (pan) this.drag({}, [0, 0], pan);
      else if (event.key === "+" || event.key === "=") this.zoomTo(this.zoom * 2);
      else if (event.key === "-") this.zoomTo(this.zoom / 2);
      else if (event.key === "1") this.zoomTo(1);
      else if (event.key === "0") this.fit();
      else return;
      event.preventDefault();
    }

    // The left and right end of what is seen of the picture.
    extent() {
      const width = this.size()[0] * this.zoom / this.ratio;
      return [Math.max(0, this.left), Math.min(this.stage.clientWidth, this.left + width)];
    }

    render() {
      const [width, height] = this.size();
      if (!width || !this.stage.clientWidth) return;
      const scale = this.zoom / this.ratio;
      const along = (start, length, room) => {
        const held = length <= room ? (room - length) / 2 : clamp(start, room - length, 0);
        return Math.round(held * this.ratio) / this.ratio;       // whole pixels of the screen
      };
      this.left = along(this.left, width * scale, this.stage.clientWidth);
      this.top = along(this.top, height * scale, this.stage.clientHeight);
      for (const picture of [this.first, this.second]) {
        Object.assign(picture.style, {
          width: `${width}px`,
          height: `${height}px`,
          transform: `translate(${this.left}px, ${this.top}px) scale(${scale})`,
          imageRendering: this.zoom >= 2 ? "pixelated" : "auto",
        });
      }
      const [low, high] = this.extent();
      this.border = low + this.share * (high - low);
      this.cover.style.clipPath = `inset(0 calc(100% - ${this.border}px) 0 0)`;
      this.divider.style.left = `${this.border}px`;
      this.stage.classList.toggle("ba-still", this.fits());
      this.range.value = 100 * this.share;
      this.range.setAttribute("aria-valuetext", `${Math.round(100 * this.share)} % ${this.nameOf(this.first)}`);
      this.shown.value = `${+(100 * this.zoom).toPrecision(3)} %`;
      this.tags[0].textContent = this.nameOf(this.first);
      this.tags[1].textContent = this.nameOf(this.second);
      const beside = high - low < 160 ? 0 : 1;           // a small picture has its names beside it
      this.tags[0].style.left = `${beside * low + 8}px`;
      this.tags[1].style.right = `${beside * (this.stage.clientWidth - high) + 8}px`;
    }
  }
  if (!customElements.get("before-after")) customElements.define("before-after", BeforeAfter);
})();
