// What pointer, wheel and keys do to the placement. A gesture is one step of undo.

import { normalAngle } from "./geometry.js";
import { gestureAt } from "./layout.js";

const WHEEL_END = 400; // milliseconds without a turn of the wheel after which its gesture ends
const WHEEL_DISTANCE = 600; // of the wheel that changes the scale by the factor e
const SNAP = 15; // degrees, with Shift
const FAR_NUDGE = 10; // pixels, with Shift
const NEAREST = 4; // CSS pixels from the object's middle in which a drag of a handle says nothing

const PAGES = { PageUp: -1, PageDown: 1 };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const rounded = (value, places) => Number(value.toFixed(places));
const angleOf = (point) => (Math.atan2(point.y, point.x) * 180) / Math.PI;

/**
 * Connect gestures on `surface` to an editor: root, view, layout(), scene(), change(values), begin(), end(),
 * isFixed(kind), focus(), hasFocus(), reset(), step(by). Returns a function that ends what is under way.
 */
export function connectGestures(surface, editor, graphCanvas) {
  let drag = null;
  let wheelTimer = null;
  let keyDown = false;
  let isPanning = false;

  const pointIn = (event, rect = surface.getBoundingClientRect()) => ({
    x: ((event.clientX - rect.left) / rect.width) * editor.view.width,
    y: ((event.clientY - rect.top) / rect.height) * editor.view.height,
  });
  // The middle button, and any with the space bar, pan the graph.
  const pans = (event) => event.button === 1 || graphCanvas().read_only;

  const endWheel = () => {
    if (wheelTimer === null) return;
    clearTimeout(wheelTimer);
    wheelTimer = null;
    editor.end();
  };
  const endKeys = () => {
    if (!keyDown) return;
    keyDown = false;
    editor.end();
  };
  const endDrag = () => {
    if (!drag) return;
    drag = null;
    editor.end();
  };
  const endAll = () => {
    endWheel();
    endKeys();
    endDrag();
  };

  const moveBy = (landed, x, y) => {
    const { target } = editor.scene();
    editor.change({ x: (landed.x + x) / target.width, y: (landed.y + y) / target.height });
  };

  const follow = (event) => {
    const point = pointIn(event, drag.rect);
    const { start, layout } = drag;
    if (drag.kind === "move") {
      moveBy(layout.landed, (point.x - start.x) / layout.fit.scale, (point.y - start.y) / layout.fit.scale);
      return;
    }
    const from = { x: start.x - layout.center.x, y: start.y - layout.center.y };
    const to = { x: point.x - layout.center.x, y: point.y - layout.center.y };
    if (Math.hypot(to.x, to.y) < NEAREST) return;
    if (drag.kind === "scale") {
      const factor = Math.hypot(to.x, to.y) / Math.max(Math.hypot(from.x, from.y), NEAREST);
      editor.change({ scale: rounded(layout.scale * factor, 4) });
    } else {
      const turned = drag.rotation + angleOf(to) - angleOf(from);
      editor.change({ rotation: normalAngle(event.shiftKey ? SNAP * Math.round(turned / SNAP) : rounded(turned, 1)) });
    }
  };

  surface.addEventListener("pointerdown", (event) => {
    if (!drag && pans(event)) {
      isPanning = true;
      return graphCanvas().processMouseDown(event);
    }
    if (event.button !== 0 || !event.isPrimary) return;
    event.stopPropagation();
    event.preventDefault();
    editor.focus();
    const layout = editor.layout();
    if (!layout?.matrix) return;
    const rect = surface.getBoundingClientRect();
    const start = pointIn(event, rect);
    const kind = gestureAt(layout, start, event.pointerType);
    if (editor.isFixed(kind)) return;
    endAll();
    surface.setPointerCapture(event.pointerId);
    drag = { kind, start, layout, rect, rotation: editor.scene().placement.rotation, pointer: event.pointerId };
    editor.begin();
  });
  surface.addEventListener("pointermove", (event) => {
    if (isPanning) return graphCanvas().processMouseMove(event);
    if (drag?.pointer === event.pointerId) {
      event.stopPropagation();
      follow(event);
      return;
    }
    const layout = editor.layout();
    if (layout?.matrix) {
      const kind = gestureAt(layout, pointIn(event), event.pointerType);
      const cursors = { move: "move", scale: "nwse-resize", rotate: "grab" };
      surface.style.cursor = editor.isFixed(kind) ? "not-allowed" : cursors[kind];
    }
  });
  surface.addEventListener("pointerup", (event) => {
    if (isPanning) {
      isPanning = false;
      return graphCanvas().processMouseUp(event);
    }
    if (drag?.pointer !== event.pointerId) return;
    event.stopPropagation();
    endDrag();
  });
  surface.addEventListener("pointercancel", endDrag);
  surface.addEventListener("lostpointercapture", endDrag);
  surface.addEventListener("dblclick", (event) => {
    event.stopPropagation();
    editor.reset();
  });

  surface.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      event.stopPropagation();
      if (drag) return;
      const isPlain = !event.ctrlKey && !event.metaKey && Math.abs(event.deltaY) >= Math.abs(event.deltaX);
      if (!isPlain || !editor.hasFocus() || !editor.layout()?.matrix) return graphCanvas().processMouseWheel(event);
      if (editor.isFixed("scale")) return;
      if (wheelTimer === null) {
        endKeys();
        editor.begin();
      }
      clearTimeout(wheelTimer);
      wheelTimer = setTimeout(endWheel, WHEEL_END);
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
      const factor = Math.exp((-event.deltaY * lines) / WHEEL_DISTANCE);
      editor.change({ scale: rounded(editor.layout().scale * factor, 4) });
    },
    { passive: false },
  );

  editor.root.addEventListener("keydown", (event) => {
    if (event.target !== editor.root || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") return editor.root.blur();
    if (event.key === " ") {
      event.preventDefault();
      return graphCanvas().processKey(event); // which hears of keys only where it has the focus itself
    }
    if (event.key in PAGES) {
      event.preventDefault();
      event.stopPropagation();
      endAll();
      return editor.step(PAGES[event.key]);
    }
    const arrow = ARROWS[event.key];
    if (!arrow) return;
    event.preventDefault();
    event.stopPropagation();
    const layout = editor.layout();
    if (drag || !layout?.matrix || editor.isFixed("move")) return;
    endWheel();
    if (!keyDown) {
      keyDown = true;
      editor.begin();
    }
    const pixels = event.shiftKey ? FAR_NUDGE : 1;
    moveBy(layout.landed, arrow[0] * pixels, arrow[1] * pixels);
  });
  editor.root.addEventListener("keyup", (event) => {
    if (event.key in ARROWS) endKeys();
  });
  editor.root.addEventListener("blur", () => {
    endKeys();
    endWheel();
  });
  return endAll;
}
