// Where things are in the view, in CSS pixels: the target, the object over it, and the handles around the object.

import { apply, corners, fitIntoView, middle, multiply, placingMatrix, resolvePlacement } from "./geometry.js";

export const MARGIN = 14; // around the target, so that handles at its border can be seen
const NEAREST = 20; // of a handle to the object's middle: a small object must leave room for being dragged
const STALK = 26; // from the object to the handle that turns it
const INSET = 9; // of a handle from the view's border
const REACH = { mouse: 11, pen: 14, touch: 22 }; // of a pointer around a handle

const into = (value, length) => Math.min(Math.max(value, INSET), Math.max(length - INSET, INSET));
const clampInto = (point, view) => ({ x: into(point.x, view.width), y: into(point.y, view.height) });

function pushedOut(point, center) {
  const x = point.x - center.x;
  const y = point.y - center.y;
  const distance = Math.hypot(x, y);
  if (distance >= NEAREST || distance === 0) return point;
  return { x: center.x + (x * NEAREST) / distance, y: center.y + (y * NEAREST) / distance };
}

/**
 * The layout of a scene in a view: fit (of the target), matrix (source to view), center and outline of the object in the
 * view, handles [{kind, x, y}], landed: the object's middle in the target, scale: the one in effect.
 */
export function layOut(scene, view) {
  const fit = fitIntoView(scene.target, view, MARGIN);
  const { object, placement } = scene;
  if (!object) return { fit, handles: [] };
  const { center, scale } = resolvePlacement(placement, scene.target, object.box, scene.box);
  const toTarget = placingMatrix(object.source, object.box, center, scale, placement.rotation, placement.flip);
  const matrix = multiply([fit.scale, 0, 0, fit.scale, fit.x, fit.y], toTarget);
  const outline = corners(object.box).map((corner) => apply(matrix, corner));
  const middleInView = apply(matrix, middle(object.box));

  const angle = (placement.rotation * Math.PI) / 180;
  const up = { x: Math.sin(angle), y: -Math.cos(angle) };
  const extents = outline.map((corner) => (corner.x - middleInView.x) * up.x + (corner.y - middleInView.y) * up.y);
  const length = Math.max(NEAREST, ...extents) + STALK;
  const tip = { x: middleInView.x + up.x * length, y: middleInView.y + up.y * length };
  const handles = [{ kind: "rotate", ...clampInto(tip, view) }];
  for (const corner of outline) handles.push({ kind: "scale", ...clampInto(pushedOut(corner, middleInView), view) });
  return { fit, matrix, center: middleInView, outline, handles, landed: apply(toTarget, middle(object.box)), scale };
}

/** What a pointer at a point would do: "rotate", "scale" or "move". */
export function gestureAt(layout, point, pointerType) {
  const reach = REACH[pointerType] ?? REACH.mouse;
  const handle = layout.handles.find((each) => Math.hypot(each.x - point.x, each.y - point.y) <= reach);
  return handle?.kind ?? "move";
}
