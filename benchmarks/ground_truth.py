"""Pictures whose right answer is known, made from the photographs inside scikit-image's package.

Three families, each sample with a source, a mask, a target and the truth:

- "outline": a rendered object with a known soft edge lies over picture A (source) and over picture B (truth). The mask is
  the object's outline, moved by -2 to +4 pixels and made irregular.
- "margin": the object lies on two pieces of the same ground (grass, gravel, brick, wood, sky, cloth) in different light.
  The mask has a wide margin of ground.
- "recoloured": the source is the truth in another light, the target is the truth with the object painted over.

Everything is float64 and seeded; no sample depends on another.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
import skimage.data
from scipy import ndimage
from skimage.color import gray2rgb

SIZE = 320  # pixels, every picture is square


class Sample(NamedTuple):
    """source, target, truth: `[H, W, 3]` in 0..1, 8-bit values; mask: bool `[H, W]`; alpha: the true one, `[H, W]`."""

    name: str
    source: np.ndarray
    mask: np.ndarray
    target: np.ndarray
    truth: np.ndarray
    alpha: np.ndarray


def photograph(name: str, left: float = 0.5, top: float = 0.5, zoom: float = 1.0) -> np.ndarray:
    """A square piece of a photograph, `zoom` times smaller than its short side, resized to SIZE."""
    image = getattr(skimage.data, name)()
    image = (gray2rgb(image) if image.ndim == 2 else image) / 255
    side = int(min(image.shape[:2]) / zoom)
    y, x = round(top * (image.shape[0] - side)), round(left * (image.shape[1] - side))
    piece = image[y : y + side, x : x + side]
    return cv2.resize(piece, (SIZE, SIZE), interpolation=cv2.INTER_AREA if side > SIZE else cv2.INTER_CUBIC).clip(0, 1)


def quantised(image: np.ndarray) -> np.ndarray:
    return np.round(image.clip(0, 1) * 255) / 255


def outline(seed: int, radius: float) -> np.ndarray:
    """Signed distance to the outline of a random object, positive inside: round, lobed, angular or furry in turn."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE / 2 - 0.5)
    angle, distance = np.arctan2(y, x), np.hypot(y, x)
    kind = seed % 4
    frequencies = {0: (2, 3), 1: (3, 4, 5, 7), 2: (2,), 3: (2, 3, 5)}[kind]
    reach = 1 + sum(
        generator.uniform(0.3, 1) * 0.25 / f**0.5 * np.cos(f * angle + generator.uniform(0, 2 * np.pi))
        for f in frequencies
    )
    if kind == 2:  # a polygon
        corners = generator.integers(5, 8)
        turn = generator.uniform(0, 2 * np.pi)
        reach = reach * np.cos(np.pi / corners) / np.cos((angle + turn) % (2 * np.pi / corners) - np.pi / corners)
    if kind == 3:  # tufts
        reach = reach + 0.05 * np.abs(((generator.integers(28, 40) * angle / np.pi) % 2) - 1)
    inside = distance < radius * reach
    return ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)


def rendered_object(seed: int, radius: float, texture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colour and alpha of an object: a photograph's texture, rounded by shading, its edge 1 to 4 pixels soft."""
    generator = np.random.default_rng(1000 + seed)
    distance = outline(seed, radius)
    alpha = cv2.GaussianBlur((distance > 0).astype(float), (0, 0), (0.6, 0.9, 1.3)[seed % 3])
    depth = np.clip(distance / distance.max(), 0, 1)
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE - 0.5
    direction = generator.uniform(0, 2 * np.pi)
    light = 0.75 + 0.25 * depth**0.5 + 0.35 * (x * math.cos(direction) + y * math.sin(direction))
    return (texture * light[..., None]).clip(0, 1), alpha


def irregular(distance: np.ndarray, seed: int, offset: float, amplitude: float) -> np.ndarray:
    """The region inside an outline that is moved outwards by `offset` and by smooth noise of at most `amplitude`."""
    noise = cv2.GaussianBlur(np.random.default_rng(2000 + seed).standard_normal(distance.shape), (0, 0), 4)
    return distance > -offset - np.clip(noise / noise.std() * amplitude / 2, -amplitude, amplitude)


def over(color: np.ndarray, alpha: np.ndarray, ground: np.ndarray) -> np.ndarray:
    return alpha[..., None] * color + (1 - alpha[..., None]) * ground


SCENES = {
    "cloth": ("astronaut", 0.05, 0.95, 2.4),
    "flag": ("astronaut", 0.0, 0.1, 2.2),
    "coffee": ("coffee", 0.3, 0.5, 1.3),
    "wood": ("coffee", 1.0, 0.0, 2.2),
    "cat": ("chelsea", 0.4, 0.5, 1.2),
    "fur": ("chelsea", 0.1, 0.9, 2.0),
    "rocket": ("rocket", 0.5, 0.5, 1.1),
    "dawn": ("rocket", 0.0, 0.3, 1.7),
    "stars": ("hubble_deep_field", 0.3, 0.3, 2.0),
    "tissue": ("immunohistochemistry", 0.2, 0.7, 1.3),
    "eye": ("retina", 0.6, 0.5, 2.0),
    "brick": ("brick", 0.0, 0.0, 1.3),
    "grass": ("grass", 0.0, 0.0, 1.5),
    "gravel": ("gravel", 0.0, 0.0, 1.3),
}
OFFSETS = (0, 2, -1, 3, 1, 4, -2)


def scene(name: str) -> np.ndarray:
    return photograph(*SCENES[name])


def outline_family() -> list[Sample]:
    """An object cut along its outline, from one picture into another."""
    sets = [  # texture of the object, picture A, picture B
        ("coffee", "dawn", "cat"),
        ("cat", "rocket", "wood"),
        ("cloth", "grass", "coffee"),
        ("tissue", "wood", "rocket"),
        ("eye", "cat", "dawn"),
        ("fur", "flag", "tissue"),
        ("flag", "gravel", "cat"),
        ("wood", "tissue", "dawn"),
        ("cloth", "cat", "wood"),
        ("coffee", "stars", "fur"),
        ("brick", "coffee", "rocket"),
        ("cat", "tissue", "dawn"),
        ("flag", "wood", "coffee"),
        ("eye", "dawn", "cloth"),
        ("tissue", "rocket", "cat"),
        ("grass", "cat", "coffee"),
    ]
    samples = []
    for seed, (texture, a, b) in enumerate(sets):
        offset = OFFSETS[seed % len(OFFSETS)]
        color, alpha = rendered_object(seed, 60 + 6 * (seed % 4), scene(texture))
        source, target = quantised(over(color, alpha, scene(a))), quantised(scene(b))
        truth = quantised(over(color, alpha, scene(b)))
        mask = irregular(outline(seed, 60 + 6 * (seed % 4)), seed, offset, amplitude=1.0)
        samples.append(Sample(f"{texture} {a} {b} {offset:+d}", source, mask, target, truth, alpha))
    return samples


def margin_family() -> list[Sample]:
    """An object with a wide margin of ground, onto the same kind of ground in another light."""
    grounds = {
        "grass": (("grass", 0.0, 0.0, 1.5), ("grass", 1.0, 1.0, 1.5), (0.55, 0.75, 0.35)),
        "gravel": (("gravel", 0.0, 0.0, 1.3), ("gravel", 1.0, 1.0, 1.3), (0.8, 0.75, 0.7)),
        "brick": (("brick", 0.0, 0.0, 1.3), ("brick", 1.0, 1.0, 1.3), (0.9, 0.55, 0.45)),
        "sky": (("rocket", 0.0, 0.0, 2.2), ("rocket", 1.0, 0.0, 2.2), (1.0, 1.0, 1.0)),
    }
    lights = [
        ((1.0, 0.95, 0.85), (0.8, 0.9, 1.05)),
        ((0.75, 0.85, 1.0), (1.1, 1.0, 0.85)),
        ((0.7, 0.7, 0.72), (1.0, 0.9, 0.8)),
    ]
    samples = []
    for index in range(12):
        name = list(grounds)[index % 4]
        first, second, tint = grounds[name]
        light_a, light_b = (np.array(light) for light in lights[index // 4])
        texture = ("coffee", "cat", "cloth", "tissue", "flag")[index % 5]
        radius = 45 + 5 * (index % 3)
        color, alpha = rendered_object(100 + index, radius, scene(texture))
        ground_a, ground_b = photograph(*first) * tint, photograph(*second) * tint
        source = quantised(over(color, alpha, ground_a) * light_a)
        target, truth = quantised(ground_b * light_b), quantised(over(color, alpha, ground_b) * light_b)
        mask = irregular(outline(100 + index, radius), index, offset=14, amplitude=5)
        samples.append(Sample(f"{texture} on {name} {index // 4}", source, mask, target, truth, alpha))
    return samples


def recoloured_family() -> list[Sample]:
    """A part of a scene from a copy of it in another light: gain and gamma per channel."""
    looks = [
        ((0.7, 0.85, 1.1), (1.0, 1.0, 1.0)),
        ((1.1, 0.9, 0.7), (1.2, 1.2, 1.2)),
        ((0.75, 0.75, 0.75), (0.8, 0.9, 1.0)),
    ]
    samples = []
    for index in range(15):
        name = ("coffee", "cat", "rocket", "astronaut", "tissue")[index % 5]
        gain, gamma = (np.array(values) for values in looks[index // 5])
        truth = quantised(photograph("astronaut") if name == "astronaut" else scene(name))
        source = quantised(gain * truth**gamma)
        distance = outline(200 + index, 70)
        mask = distance > 0
        painted = np.where((distance > 3)[..., None], truth[~mask].mean(0), truth)
        samples.append(Sample(f"{name} {index // 5}", source, mask, quantised(painted), truth, mask.astype(float)))
    return samples


FAMILIES = {"outline": outline_family, "margin": margin_family, "recoloured": recoloured_family}


def psnr(image: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB over some pixels, of 8-bit pictures; 60 at most, for equal ones."""
    error = np.mean((quantised(image) - truth)[where] ** 2)
    return min(60.0, -10 * math.log10(max(error, 1e-12)))


def regions(sample: Sample) -> dict[str, np.ndarray]:
    """Where a result is judged: `edge`, within 6 pixels of the outline; `object`, all of it; `core`, deeper than 6 pixels;
    `mask`."""
    solid = sample.alpha > 0.5
    distance = ndimage.distance_transform_edt(solid) - ndimage.distance_transform_edt(~solid)
    return {"edge": np.abs(distance) <= 6, "object": solid, "core": distance > 6, "mask": sample.mask}


def paste(sample: Sample) -> np.ndarray:
    return np.where(sample.mask[..., None], sample.source, sample.target)


def seamless_clone(sample: Sample) -> np.ndarray:
    """OpenCV's Poisson blending, told to leave the object where it is."""
    ys, xs = np.nonzero(sample.mask)
    center = int(xs.min() + xs.max() + 1) // 2, int(ys.min() + ys.max() + 1) // 2
    source, target = ((image * 255).round().astype(np.uint8) for image in (sample.source, sample.target))
    return cv2.seamlessClone(source, target, sample.mask.astype(np.uint8) * 255, center, cv2.NORMAL_CLONE) / 255
