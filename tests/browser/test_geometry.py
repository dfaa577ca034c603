"""The widget's geometry against blending_core/placement.py: the same points of a picture land on the same pixels."""

import numpy as np
import pytest
import torch

from deepblend.blending_core.placement import mask_box, place, scale_to_fit

MODULE = "/extensions/ComfyUI-DeepBlend/place_object/geometry.js"
CANVAS = (300, 340)  # height, width
SPOT = 2.5  # pixels, standard deviation


@pytest.fixture(scope="module")
def geometry(browser, server):
    """Calls a function of the widget's geometry module."""
    page = browser.new_page()
    page.goto(f"{server.url}{MODULE}")

    def call(name, *values):
        script = f"async ([name, values]) => (await import('{MODULE}'))[name](...values)"
        return page.evaluate(script, [name, list(values)])

    yield call
    page.close()


def spot(size, at):
    """A bright spot whose middle is at a point (x, y)."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    return np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * SPOT**2))


def centroid(weights):
    y, x = np.mgrid[: weights.shape[0], : weights.shape[1]] + 0.5
    return np.array([(weights * x).sum(), (weights * y).sum()]) / weights.sum()


def as_box(box):
    return {name: float(value) for name, value in box._asdict().items()}


def random_case(seed):
    draw = np.random.default_rng(seed)
    size = int(draw.integers(60, 90)), int(draw.integers(60, 90))
    left, top = (int(draw.integers(2, 8)) for _ in range(2))
    right, bottom = size[1] - int(draw.integers(1, 8)), size[0] - int(draw.integers(1, 8))
    rotation = float(draw.choice([0, 90, -90, 180, 270, *draw.uniform(-360, 360, 5)]))
    scale = float(draw.choice([1.0, draw.uniform(0.5, 1.7)]))
    center = 150 + draw.uniform(-20, 20), 150 + draw.uniform(-20, 20)
    return size, (left, top, right, bottom), center, scale, rotation, bool(draw.integers(2))


@pytest.mark.parametrize("seed", range(40))
def test_points_of_the_source_land_where_place_puts_them(geometry, seed):
    size, (left, top, right, bottom), center, scale, rotation, flip = random_case(seed)
    mask = torch.zeros(1, 1, *size)
    mask[..., top:bottom, left:right] = 1
    points = (left + 14.0, top + 17.0), (right - 16.0, top + 20.0), (left + 20.0, bottom - 15.0)
    source = torch.from_numpy(np.stack([spot(size, point) for point in points]))[None].float()
    image, placed = place(source, mask, CANVAS, center, scale, rotation, flip)
    matrix = geometry(
        "placingMatrix",
        {"width": size[1], "height": size[0]},
        as_box(mask_box(mask[0, 0])),
        {"x": center[0], "y": center[1]},
        scale,
        rotation,
        flip,
    )
    a, b, c, d, e, f = matrix
    for channel, (x, y) in zip((image * placed)[0].double().numpy(), points, strict=True):
        # Two spots of others lie at a distance that their brightness does not reach; faint remains do not count.
        seen = centroid(np.where(channel > 0.02, channel, 0))
        assert np.abs(seen - (a * x + c * y + e, b * x + d * y + f)).max() < 0.3
    if scale == 1 and rotation % 90 == 0:
        x, y, width, height = mask_box(placed[0, 0])
        corners = [(a * u + c * v + e, b * u + d * v + f) for u, v in ((left, top), (right, bottom))]
        assert [x, y] == [min(values) for values in zip(*corners, strict=True)]
        assert [x + width, y + height] == [max(values) for values in zip(*corners, strict=True)]


@pytest.mark.parametrize("rotation", [0.0, 30.0, 90.0, -77.0, 200.0])
def test_scale_that_fits_a_box(geometry, rotation):
    scale = geometry("scaleToFit", {"width": 30, "height": 20}, rotation, {"width": 45, "height": 80})
    assert scale == pytest.approx(scale_to_fit(30, 20, rotation, 45, 80), rel=1e-12)


def test_halves_are_rounded_as_python_does(geometry):
    values = [0.5, 1.5, 2.5, 2.4999, 2.5001, 7.0, 33.5]
    assert [geometry("roundHalfToEven", value) for value in values] == [round(value) for value in values]


@pytest.mark.parametrize("turned", [-540.0, -180.0, 0.0, 179.5, 180.0, 190.0, 725.0])
def test_angles_are_kept_within_half_a_turn(geometry, turned):
    angle = geometry("normalAngle", turned)
    assert -180 < angle <= 180
    assert (angle - turned) % 360 == 0


@pytest.mark.parametrize(
    ("target", "view"), [((600, 400), (300, 200)), ((400, 600), (300, 200)), ((16, 9), (500, 700))]
)
def test_target_fits_into_the_view_undistorted(geometry, target, view):
    width, height = target
    fit = geometry("fitIntoView", {"width": width, "height": height}, {"width": view[0], "height": view[1]}, 10)
    left, top = fit["x"], fit["y"]
    assert min(left, top) == pytest.approx(10)
    assert (2 * left + width * fit["scale"], 2 * top + height * fit["scale"]) == pytest.approx(view)
