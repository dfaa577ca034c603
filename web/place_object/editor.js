// One node's placement: what is shown, read from its widgets and from what has run, and how gestures change it.

import { app } from "../../../scripts/app.js";
import { draw } from "./drawing.js";
import { connectGestures } from "./gestures.js";
import { layOut } from "./layout.js";
import { buildPanel } from "./panel.js";
import { outlineOf, PictureShelf } from "./pictures.js";
import { text } from "./texts.js";
import { constantBox, fileUrl, isWired, outputsOf, shownPicture, valueSource } from "./upstream.js";

const NAMES = ["x", "y", "scale", "rotation", "flip"];
const START = { x: 0.5, y: 0.5, scale: 1, rotation: 0, flip: false };
const FIXED_BY_BOX = ["x", "y", "scale"];
const CHANGED_BY = { move: ["x", "y"], scale: ["scale"], rotate: ["rotation"] };
const PLACES = 5; // decimals of a value, as the node rounds them
const COMMIT_INTERVAL = 250; // milliseconds
const DENSEST = 2; // canvas pixels per CSS pixel of the screen

const cutOut = ({ image }, { source, object, mask_box: box }) => ({
  image, source, crop: object.crop, box, isCutOut: true,
});

export class Editor {
  constructor(node) {
    this.node = node;
    this.widgets = Object.fromEntries(NAMES.map((name) => [name, node.widgets.find((each) => each.name === name)]));
    this.panel = buildPanel();
    this.root = this.panel.root;
    this.shelf = new PictureShelf();
    this.view = { width: 0, height: 0 }; // CSS pixels of the graph at zoom 1; the elements are not asked, which is slow
    this.run = null; // what the node's last run says of its pictures, frame by frame
    this.lostRun = null;
    this.place = 0; // among these frames, of the one that is shown
    this.shownAtRun = {}; // what upstream nodes showed then
    this.pictures = { target: null, object: null, occluder: null };
    this.drawing = null; // the animation frame that was asked for
    this.open = false;
    this.refreshes = 0;
    this.pending = {}; // values that the widgets do not have yet
    this.commitTimer = null;

    for (const name of NAMES) {
      const callback = this.widgets[name].callback;
      this.widgets[name].callback = (...values) => {
        const result = callback?.apply(this.widgets[name], values);
        this.redraw();
        return result;
      };
    }
    this.panel.flip.addEventListener("click", () => this.#asOneStep({ flip: !this.#value("flip") }));
    this.panel.reset.addEventListener("click", () => this.reset());
    this.panel.frames.previous.addEventListener("click", () => this.step(-1));
    this.panel.frames.next.addEventListener("click", () => this.step(1));
    this.endGestures = connectGestures(this.panel.canvas, this, () => app.canvas);
    this.root.addEventListener("focus", () => {
      document.addEventListener("pointerdown", this.#leave, true);
      this.redraw();
    });
    this.root.addEventListener("blur", () => {
      document.removeEventListener("pointerdown", this.#leave, true);
      this.redraw();
    });
    this.root.addEventListener("pointerenter", () => this.refresh());
    this.root.addEventListener("pointerleave", () => this.redraw());
    // Also when the node comes into view, as when its subgraph is opened.
    this.sizes = new ResizeObserver(([{ contentRect: { width, height } }]) => {
      this.view = { width, height };
      this.refresh();
    });
    this.sizes.observe(this.panel.canvas);
  }

  close() {
    this.endGestures();
    this.#leave({});
  }

  focus() {
    this.root.focus({ preventScroll: true });
  }

  hasFocus() {
    return document.activeElement === this.root;
  }

  #leave = (event) => {
    if (event.target && this.root.contains(event.target)) return;
    this.root.blur();
    document.removeEventListener("pointerdown", this.#leave, true);
  };

  // Values

  /** What the last run says of the frame that is shown; null before it. */
  get frame() {
    return this.run?.[Math.min(this.place, this.run.length - 1)] ?? null;
  }

  #value(name) {
    const { widget, constant } = valueSource(this.node, name);
    if (widget) return this.pending[name] ?? widget.value;
    return constant ?? this.frame?.values?.[name] ?? this.widgets[name].value;
  }

  #linkedNames() {
    return NAMES.filter((name) => !valueSource(this.node, name).widget);
  }

  /** The box that replaces x, y and scale: null if none is wired, or as far as is known none was found. */
  #box() {
    if (!isWired(this.node, "bboxes")) return null;
    return constantBox(this.node, "bboxes") ?? this.frame?.box ?? null;
  }

  #fixedNames() {
    // Before a run nobody knows whether there will be a box.
    const byBox = isWired(this.node, "bboxes") && (!this.frame || this.#box()) ? FIXED_BY_BOX : [];
    return new Set([...byBox, ...this.#linkedNames()]);
  }

  /** Whether a kind of gesture could change nothing. */
  isFixed(kind, fixed = this.#fixedNames()) {
    return CHANGED_BY[kind].every((name) => fixed.has(name));
  }

  /** Show these values at once; during a gesture the node's widgets follow a little later. */
  change(values) {
    const fixed = this.#fixedNames();
    for (const [name, wanted] of Object.entries(values)) {
      if (fixed.has(name)) continue;
      const { min = -Infinity, max = Infinity } = valueSource(this.node, name).widget.options ?? {};
      const isNumber = typeof wanted === "number";
      this.pending[name] = isNumber ? Math.min(Math.max(Number(wanted.toFixed(PLACES)), min), max) : wanted;
    }
    // Each change of a widget has ComfyUI draw much more than the view.
    this.commitTimer ??= setTimeout(() => this.#commit(), COMMIT_INTERVAL);
    this.redraw();
  }

  #commit() {
    clearTimeout(this.commitTimer);
    this.commitTimer = null;
    for (const [name, value] of Object.entries(this.pending)) {
      const { widget, node } = valueSource(this.node, name);
      if (!widget || widget.value === value) continue;
      // The callback rounds to the places that the number field shows, which is coarser than a pixel of a large target.
      widget.callback?.(value, app.canvas, node);
      widget.value = value;
    }
    this.pending = {};
    this.node.setDirtyCanvas(true, false);
    this.redraw();
  }

  begin() {
    if (this.open) return;
    this.open = true;
    app.canvas.emitBeforeChange();
  }

  end() {
    if (!this.open) return;
    this.open = false;
    this.#commit();
    app.canvas.emitAfterChange();
  }

  #asOneStep(values) {
    this.endGestures();
    this.begin();
    this.change(values);
    this.end();
  }

  reset() {
    this.#asOneStep(START);
  }

  /** Show the next or the previous of the frames that the last run tells of. */
  step(by) {
    if (!this.run) return;
    this.place = Math.min(Math.max(this.place + by, 0), this.run.length - 1);
    this.refresh();
  }

  // Pictures

  /** Look what upstream nodes and the last run show now. */
  async refresh() {
    if (!this.node.graph) return;
    const shown = { source: shownPicture(this.node, "source"), target: shownPicture(this.node, "target") };
    const run = outputsOf(this.node)?.placement;
    if (run?.length && ![this.run, this.lostRun].some((known) => JSON.stringify(known) === JSON.stringify(run))) {
      this.run = run;
      this.place = Math.min(this.place, run.length - 1);
      this.shownAtRun = shown;
    }
    // A picture that was exchanged upstream since the run is shown at once, as it is.
    const { frame } = this;
    const isOfRun = (name) => frame !== null && (!shown[name] || shown[name] === this.shownAtRun[name]);
    const ofRun = { target: isOfRun("target"), object: isOfRun("source"), occluder: isOfRun("target") };
    const urlsOf = (one) => ({
      target: ofRun.target ? fileUrl(one.target.file) : shown.target,
      object: ofRun.object ? one.object && fileUrl(one.object.file) : shown.source,
      occluder: ofRun.occluder && one.occluder ? fileUrl(one.occluder) : null,
    });
    const urls = urlsOf(frame);
    const key = JSON.stringify([urls, frame]);
    const refresh = ++this.refreshes; // before anything else: what another one still loads is out of date now
    if (key === this.shownKey) {
      this.root.ariaBusy = "false";
      return this.redraw();
    }
    this.root.ariaBusy = "true";
    this.shelf.keep([frame, ...(this.run ?? [])].flatMap((one) => Object.values(urlsOf(one))));
    const names = Object.keys(urls);
    const load = (wanted) => Promise.all(names.map((name) => wanted[name] && this.shelf.get(wanted[name])));
    const loaded = await load(urls);
    if (refresh !== this.refreshes) return;
    this.root.ariaBusy = "false";
    const pictures = Object.fromEntries(names.map((name, index) => [name, loaded[index] || null]));
    if (frame && names.some((name) => ofRun[name] && urls[name] && !pictures[name])) {
      this.lostRun = this.run; // its files are gone, as after a restart of ComfyUI
      this.run = null;
      return this.refresh();
    }
    this.shownKey = key;
    this.pictures = {
      target: pictures.target && { ...pictures.target, ...(ofRun.target ? frame.target.size : {}) },
      object: pictures.object && (ofRun.object ? cutOut(pictures.object, frame) : this.#whole(pictures.object)),
      occluder: pictures.occluder && { image: pictures.occluder.image, outline: outlineOf(pictures.occluder.image) },
    };
    this.redraw();
    for (const by of [1, -1]) if (this.run?.[this.place + by]) load(urlsOf(this.run[this.place + by])); // for a quick step
  }

  #whole({ image, width, height }) {
    const whole = { x: 0, y: 0, width, height };
    return { image, source: { width, height }, crop: whole, box: whole, isCutOut: !isWired(this.node, "mask") };
  }

  // Drawing

  /** What is to be seen now; without a target there is nothing to place the object on. */
  scene() {
    const { target, object, occluder } = this.pictures;
    const placement = Object.fromEntries(NAMES.map((name) => [name, this.#value(name)]));
    return {
      target: target ?? { image: null, width: 4, height: 3 },
      object: target && object,
      occluder,
      placement,
      box: this.#box(),
    };
  }

  layout() {
    if (!this.view.width || !this.view.height) return null;
    const layout = layOut(this.scene(), this.view);
    const fixed = this.#fixedNames();
    return { ...layout, handles: layout.handles.filter(({ kind }) => !this.isFixed(kind, fixed)) };
  }

  redraw() {
    this.drawing ??= requestAnimationFrame(() => {
      this.drawing = null;
      this.#draw();
    });
  }

  #draw() {
    const { canvas } = this.panel;
    const layout = this.layout();
    if (!layout || !this.node.graph) return;
    const scene = this.scene();
    const density = Math.min(Math.max(app.canvas.ds.scale * window.devicePixelRatio, 1), DENSEST);
    const width = Math.round(this.view.width * density);
    const height = Math.round(this.view.height * density);
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    const context = canvas.getContext("2d");
    const isInUse = this.hasFocus() || this.root.matches(":hover");
    const fixed = this.#fixedNames();
    const hasHandles = isInUse && !Object.keys(CHANGED_BY).every((kind) => this.isFixed(kind, fixed));
    draw(context, scene, layout, density, hasHandles);
    this.#describe(scene, layout);
  }

  #describe(scene, layout) {
    const { numbers, note, flip, reset, frames } = this.panel;
    const fixed = this.#fixedNames();
    flip.setAttribute("aria-pressed", String(scene.placement.flip));
    flip.disabled = fixed.has("flip");
    reset.disabled = NAMES.every((name) => fixed.has(name));
    numbers.textContent = layout.landed
      ? `${Math.round(layout.landed.x)}, ${Math.round(layout.landed.y)} px · ${Number(layout.scale.toFixed(3))}× · ` +
        `${Number(scene.placement.rotation.toFixed(1))}°`
      : "";
    note.textContent = this.#note(scene);
    frames.root.hidden = !(this.run?.length > 1);
    if (frames.root.hidden) return;
    // Of a list the node runs for each item anew, and every run begins with a first frame.
    const isList = this.run.filter(({ frame }) => frame === 0).length > 1;
    const place = isList
      ? { frame: this.place + 1, frames: this.run.length }
      : { frame: this.frame.frame + 1, frames: this.frame.frames };
    frames.place.textContent = `${place.frame} / ${place.frames}`;
    frames.place.title = text("frame", place);
    frames.previous.disabled = this.place === 0;
    frames.next.disabled = this.place === this.run.length - 1;
  }

  #note({ object, box }) {
    if (!this.pictures.target || !this.pictures.object) {
      return text(this.frame && !this.frame.object ? "emptyMask" : "noPictures");
    }
    if (isWired(this.node, "bboxes")) {
      if (!this.frame) return text("unknownBox");
      if (box) return text("placedByBox");
    }
    const linked = this.#linkedNames();
    if (linked.length) {
      const isUnknown = linked.some((name) => valueSource(this.node, name).constant === undefined) && !this.frame;
      const names = linked.map((name) => this.widgets[name].label ?? name).join(", ");
      return text(isUnknown ? "unknownLinked" : "linked", { names });
    }
    return object?.isCutOut ? "" : text("notCutOut");
  }
}
