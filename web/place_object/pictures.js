// Pictures for drawing: loaded once, made no larger than a screen shows, and outlines of masks.

const LARGEST_SIDE = 1280; // pixels; larger pictures are slow to draw in every frame of a drag
const OUTLINE = 2; // pixels
const OUTLINE_COLOR = "#ffd84d";

function newCanvas(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

/** A picture as {image, width, height}: what to draw, and the size that the file has. Rejects if it cannot be loaded. */
export async function loadPicture(url) {
  const file = new Image();
  file.src = url;
  await file.decode();
  const { naturalWidth: width, naturalHeight: height } = file;
  const shrink = Math.min(1, LARGEST_SIDE / Math.max(width, height));
  const image = newCanvas(Math.max(1, Math.round(width * shrink)), Math.max(1, Math.round(height * shrink)));
  const context = image.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(file, 0, 0, image.width, image.height);
  return { image, width, height };
}

/** A line around what is opaque in a picture, on its outer side. */
export function outlineOf(image) {
  const outline = newCanvas(image.width, image.height);
  const context = outline.getContext("2d");
  for (const x of [-OUTLINE, 0, OUTLINE]) for (const y of [-OUTLINE, 0, OUTLINE]) context.drawImage(image, x, y);
  context.globalCompositeOperation = "destination-out";
  context.drawImage(image, 0, 0);
  context.globalCompositeOperation = "source-in";
  context.fillStyle = OUTLINE_COLOR;
  context.fillRect(0, 0, outline.width, outline.height);
  return outline;
}

/** The last pictures that were asked for, by address, so that a redraw does not load them again. */
export class PictureShelf {
  constructor() {
    this.pictures = new Map();
  }

  /** Promise of the picture; null if it cannot be loaded. Those of other addresses than `wanted` are dropped by `keep`. */
  get(url) {
    if (!this.pictures.has(url)) this.pictures.set(url, loadPicture(url).catch(() => null));
    return this.pictures.get(url);
  }

  keep(wanted) {
    for (const url of this.pictures.keys()) if (!wanted.includes(url)) this.pictures.delete(url);
  }
}
