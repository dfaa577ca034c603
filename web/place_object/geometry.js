// Where Place Object puts the object, in pixels of the target: what blending_core/placement.py does, step by step.
//
// A matrix is [a, b, c, d, e, f] as canvas takes it: x' = a x + c y + e, y' = b x + d y + f. A box is {x, y, width, height},
// a size {width, height}, a placement {x, y, scale, rotation, flip} with x and y as fractions of the target.

const radians = (degrees) => (degrees * Math.PI) / 180;

/** As Python's round: halves go to the even neighbour. */
export function roundHalfToEven(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

/** Largest scale at which a size, turned by `rotation` degrees, fits into a box. */
export function scaleToFit(size, rotation, box) {
  const cosine = Math.abs(Math.cos(radians(rotation)));
  const sine = Math.abs(Math.sin(radians(rotation)));
  return Math.min(
    box.width / (size.width * cosine + size.height * sine),
    box.height / (size.width * sine + size.height * cosine),
  );
}

/** `first`, then `second`. */
export function multiply(second, first) {
  const [a, b, c, d, e, f] = second;
  const [g, h, i, j, k, l] = first;
  return [a * g + c * h, b * g + d * h, a * i + c * j, b * i + d * j, a * k + c * l + e, b * k + d * l + f];
}

export function apply(matrix, point) {
  const [a, b, c, d, e, f] = matrix;
  return { x: a * point.x + c * point.y + e, y: b * point.x + d * point.y + f };
}

export const middle = (box) => ({ x: box.x + box.width / 2, y: box.y + box.height / 2 });

/** Corners in their order around the box. */
export function corners(box) {
  const right = box.x + box.width;
  const bottom = box.y + box.height;
  return [
    { x: box.x, y: box.y },
    { x: right, y: box.y },
    { x: right, y: bottom },
    { x: box.x, y: bottom },
  ];
}

/** Mirroring, if any, and turns by 90 degrees clockwise of a picture of this size, which then again begins at 0, 0. */
function rearrangement({ width, height }, flip, quarterTurns) {
  const mirrored = flip ? [-1, 0, 0, 1, width, 0] : [1, 0, 0, 1, 0, 0];
  const turned = [
    [1, 0, 0, 1, 0, 0],
    [0, 1, -1, 0, height, 0],
    [-1, 0, 0, -1, width, height],
    [0, -1, 1, 0, 0, width],
  ][quarterTurns];
  return multiply(turned, mirrored);
}

/**
 * Matrix from pixels of the source picture to pixels of the target.
 *
 * source: size of the source picture; objectBox: the object's mask box in it; center: where the middle of that box goes.
 */
export function placingMatrix(source, objectBox, center, scale, rotation, flip) {
  const turns = Math.floor(rotation / 90 + 0.5);
  const angle = radians(rotation - 90 * turns);
  const quarterTurns = ((turns % 4) + 4) % 4;
  const rearranged = rearrangement(source, flip, quarterTurns);
  const { width, height } = quarterTurns % 2 ? { width: source.height, height: source.width } : source;
  const scaleX = Math.max(1, roundHalfToEven(width * scale)) / width;
  const scaleY = Math.max(1, roundHalfToEven(height * scale)) / height;
  const scaled = multiply([scaleX, 0, 0, scaleY, 0, 0], rearranged);
  const pivot = apply(scaled, middle(objectBox));
  if (angle === 0) {
    const left = Math.floor(center.x - pivot.x + 0.5);
    const top = Math.floor(center.y - pivot.y + 0.5);
    return multiply([1, 0, 0, 1, left, top], scaled);
  }
  const cosine = Math.cos(angle);
  const sine = Math.sin(angle);
  const x = center.x - cosine * pivot.x + sine * pivot.y;
  const y = center.y - sine * pivot.x - cosine * pivot.y;
  return multiply([cosine, sine, -sine, cosine, x, y], scaled);
}

/**
 * Centre and scale that place the object: from the box in the target that replaces x, y and scale, if there is one.
 */
export function resolvePlacement(placement, target, objectBox, box) {
  if (box) return { center: middle(box), scale: scaleToFit(objectBox, placement.rotation, box) };
  return { center: { x: placement.x * target.width, y: placement.y * target.height }, scale: placement.scale };
}

/** Scale and offset that show a target as large as a view allows, in its middle, with a margin around it. */
export function fitIntoView(target, view, margin) {
  const room = { width: Math.max(view.width - 2 * margin, 1), height: Math.max(view.height - 2 * margin, 1) };
  const scale = Math.min(room.width / target.width, room.height / target.height);
  return { scale, x: (view.width - target.width * scale) / 2, y: (view.height - target.height * scale) / 2 };
}

/** A turn by any number of degrees as -180 < degrees <= 180. */
export function normalAngle(degrees) {
  const turned = degrees - 360 * Math.floor(degrees / 360);
  return turned > 180 ? turned - 360 : turned;
}
