// The widget's elements: the view, and under it two buttons, the placement in numbers, and a note where one is due.

const HELP =
  "Drag to move, a corner to scale, the round handle to turn (Shift: steps of 15°). Double-click resets.\n" +
  "After a click into the view the wheel scales (Ctrl+wheel still zooms the graph) and the arrow keys move by one " +
  "pixel of the target (Shift: 10); Escape gives the wheel back to the graph.";

function element(tag, className, parent) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  parent?.append(made);
  return made;
}

function button(text, title, parent) {
  const made = element("button", "", parent);
  made.type = "button";
  made.textContent = text;
  made.title = title;
  // Else the press would begin a drag of the node, and the click never arrive.
  made.addEventListener("pointerdown", (event) => event.stopPropagation());
  return made;
}

/** root, canvas, flip, reset, numbers, note. */
export function buildPanel() {
  const root = element("div", "deepblend-place");
  root.tabIndex = 0;
  root.dataset.captureWheel = "true"; // ComfyUI then leaves the wheel to it while it has the focus
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Placement of the object. Arrow keys move it by one pixel, with Shift by ten.");
  const canvas = element("canvas", "", element("div", "deepblend-place-view", root));
  canvas.title = HELP;
  const bar = element("div", "deepblend-place-bar", root);
  const flip = button("Flip", "Mirror the object left and right", bar);
  const reset = button("Reset", "Middle of the target, size of the source, not turned, not mirrored", bar);
  const numbers = element("span", "deepblend-place-numbers", bar);
  const note = element("div", "deepblend-place-note", root);
  note.setAttribute("role", "status");
  return { root, canvas, flip, reset, numbers, note };
}
