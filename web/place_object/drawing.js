// Draws a scene: the target, the object over it, what stays in front, and the handles.

const BEYOND_FRAME = 0.25; // opacity of what the frame cuts off
const LIGHT = "#ffffff";
const DARK = "#000000b0"; // beside every light line, so that it shows on any picture
const HANDLE = 5; // radius in CSS pixels

/** The target in the size of the view, made anew when that changes: scaling a large picture in every frame is slow. */
function scaledTarget(target, width, height) {
  if (target.scaled?.width !== width || target.scaled?.height !== height) {
    target.scaled = document.createElement("canvas");
    target.scaled.width = width;
    target.scaled.height = height;
    const context = target.scaled.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(target.image, 0, 0, width, height);
  }
  return target.scaled;
}

let layer; // what is drawn behind an occluder is composed here first; nothing is kept in it

function clearedLayer(width, height) {
  layer ??= document.createElement("canvas");
  if (layer.width !== width || layer.height !== height) {
    layer.width = width;
    layer.height = height;
  }
  const context = layer.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.globalCompositeOperation = "source-over";
  context.clearRect(0, 0, width, height);
  return context;
}

function drawObject(context, object, matrix) {
  const { crop, image } = object;
  context.save();
  context.transform(...matrix);
  context.drawImage(image, crop.x, crop.y, crop.width, crop.height);
  context.restore();
}

/** The object as the occluder leaves it, composed apart because it is erased from the object alone. */
function drawBehind(context, scene, matrix, frame, density) {
  const { width, height } = context.canvas;
  const behind = clearedLayer(width, height);
  behind.setTransform(density, 0, 0, density, 0, 0);
  drawObject(behind, scene.object, matrix);
  behind.globalCompositeOperation = "destination-out";
  behind.drawImage(scene.occluder.image, frame.x, frame.y, frame.width, frame.height);
  context.save();
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.drawImage(layer, 0, 0);
  context.restore();
}

function strokeTwice(context, path) {
  for (const [width, color] of [[3, DARK], [1.25, LIGHT]]) {
    context.lineWidth = width;
    context.strokeStyle = color;
    context.stroke(path);
  }
}

function polygon(points) {
  const path = new Path2D();
  points.forEach(({ x, y }, index) => (index ? path.lineTo(x, y) : path.moveTo(x, y)));
  path.closePath();
  return path;
}

function drawHandles(context, layout) {
  strokeTwice(context, polygon(layout.outline));
  const [left, right] = layout.outline; // ends of the edge from which the object is turned
  for (const { kind, x, y } of layout.handles) {
    const path = new Path2D();
    if (kind === "rotate") {
      const stalk = new Path2D();
      stalk.moveTo((left.x + right.x) / 2, (left.y + right.y) / 2);
      stalk.lineTo(x, y);
      strokeTwice(context, stalk);
      path.arc(x, y, HANDLE + 1, 0, 2 * Math.PI);
    } else {
      path.rect(x - HANDLE, y - HANDLE, 2 * HANDLE, 2 * HANDLE);
    }
    context.fillStyle = LIGHT;
    context.fill(path);
    context.lineWidth = 1.5;
    context.strokeStyle = DARK;
    context.stroke(path);
  }
}

/** Draw onto a context whose canvas has `density` pixels per CSS pixel. */
export function draw(context, scene, layout, density, showHandles) {
  const { target, object, occluder, box } = scene;
  const { fit } = layout;
  const frame = { x: fit.x, y: fit.y, width: target.width * fit.scale, height: target.height * fit.scale };
  context.setTransform(density, 0, 0, density, 0, 0);
  context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  if (target.image) {
    const scaled = scaledTarget(target, Math.ceil(frame.width * density), Math.ceil(frame.height * density));
    context.drawImage(scaled, frame.x, frame.y, frame.width, frame.height);
  } else {
    context.fillStyle = "#80808040";
    context.fillRect(frame.x, frame.y, frame.width, frame.height);
  }
  if (object) {
    context.globalAlpha = BEYOND_FRAME * (object.isCutOut ? 1 : 0.5);
    context.save();
    const beyond = new Path2D();
    beyond.rect(0, 0, context.canvas.width, context.canvas.height);
    beyond.rect(frame.x, frame.y, frame.width, frame.height);
    context.clip(beyond, "evenodd");
    drawObject(context, object, layout.matrix);
    context.restore();
    context.globalAlpha = object.isCutOut ? 1 : 0.5;
    context.save();
    context.beginPath();
    context.rect(frame.x, frame.y, frame.width, frame.height);
    context.clip();
    if (occluder) drawBehind(context, scene, layout.matrix, frame, density);
    else drawObject(context, object, layout.matrix);
    context.restore();
    context.globalAlpha = 1;
  }
  if (occluder) context.drawImage(occluder.outline, frame.x, frame.y, frame.width, frame.height);
  if (box) {
    const path = new Path2D();
    path.rect(fit.x + box.x * fit.scale, fit.y + box.y * fit.scale, box.width * fit.scale, box.height * fit.scale);
    context.setLineDash([6, 4]);
    strokeTwice(context, path);
    context.setLineDash([]);
  }
  if (object && showHandles) drawHandles(context, layout);
}
