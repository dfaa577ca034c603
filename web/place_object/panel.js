// The widget's elements: the view, under it buttons, a way through the frames and the placement in numbers, and a note
// where one is due.

import { text } from "./texts.js";

function element(tag, className, parent) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  parent?.append(made);
  return made;
}

function button(label, title, parent) {
  const made = element("button", "", parent);
  made.type = "button";
  made.textContent = label;
  made.title = title;
  made.ariaLabel = title;
  // Else the press would begin a drag of the node, and the click never arrive.
  made.addEventListener("pointerdown", (event) => event.stopPropagation());
  return made;
}

/** root, canvas, flip, reset, frames {root, previous, place, next}, numbers, note. */
export function buildPanel() {
  const root = element("div", "deepblend-place");
  root.tabIndex = 0;
  root.dataset.captureWheel = "true"; // ComfyUI then leaves the wheel to it while it has the focus
  root.setAttribute("role", "group");
  root.ariaLabel = text("label");
  const canvas = element("canvas", "", element("div", "deepblend-place-view", root));
  canvas.title = [text("helpPointer"), text("helpKeys")].join("\n");
  const bar = element("div", "deepblend-place-bar", root);
  const flip = button(text("flip"), text("flipHint"), bar);
  const reset = button(text("reset"), text("resetHint"), bar);
  const frames = { root: element("span", "deepblend-place-frames", bar) };
  frames.previous = button("‹", text("previousFrame"), frames.root);
  frames.place = element("span", "", frames.root);
  frames.next = button("›", text("nextFrame"), frames.root);
  const numbers = element("span", "deepblend-place-numbers", bar);
  const note = element("div", "deepblend-place-note", root);
  note.setAttribute("role", "status");
  return { root, canvas, flip, reset, frames, numbers, note };
}
