"""What the deep stages show while they work."""

import itertools
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageColor

from loss_colors import LOSS_COLORS
from pictures import smooth_picture

STAGE_1, STAGE_2, SATURATION = "DeepBlend_Stage1", "DeepBlend_Stage2", "DeepBlend_SaturationLoss"


def module(host, name):
    return sys.modules[host.nodes.NODE_CLASS_MAPPINGS[STAGE_1].__module__.replace(".deep", f".{name}")]


@pytest.fixture
def loss_preview(host):
    return module(host, "loss_preview").loss_preview


def picture(height, width, seed=0):
    return torch.from_numpy(smooth_picture(height, width, seed)).float().movedim(-1, 0)[None]


def terms(*names, evaluations=12):
    falling = 10.0 ** -np.linspace(0, 2, evaluations)
    return {name: (falling * 0.4**place).tolist() for place, name in enumerate(names)}


def bytes_of(image):
    return image[0].movedim(0, -1).mul(255).round().byte().numpy()


def colors_in(pixels, tolerance=2):
    """Terms whose colour is to be seen; black is that of the text too."""
    wanted = {name: ImageColor.getrgb(color) for name, color in LOSS_COLORS.items()}
    far = {name: np.abs(pixels.astype(int) - color).max(-1) for name, color in wanted.items()}
    return {name for name, distance in far.items() if (distance <= tolerance).sum() > 60}


@pytest.mark.parametrize(
    ("size", "is_below"),
    [((300, 500), True), ((2000, 3000), True), ((50, 90), True), ((512, 512), False), ((900, 500), False)],
)
def test_the_picture_is_shown_whole_and_undistorted(loss_preview, size, is_below):
    image = picture(*size)
    shown = loss_preview(image, terms("total", "content"), ["evaluation 12 of 30"])
    assert shown.shape[2] <= 384 and shown.shape[3] <= 512
    pixels = bytes_of(shown)
    white = (pixels == 255).all(-1)  # the strip begins with a row or column of white paper
    height, width = pixels.shape[:2]
    if is_below:
        height = int(np.argmax(white.all(1)))
    else:
        width = int(np.argmax(white.all(0)))
    assert width / height == pytest.approx(size[1] / size[0], rel=0.01)
    assert max(height, width) > 300
    whole = Image.fromarray(bytes_of(image)).resize((width, height), Image.Resampling.BILINEAR)
    assert np.abs(pixels[:height, :width].astype(float) - np.asarray(whole)).mean() < 6


@pytest.mark.parametrize("size", [(400, 600), (600, 300), (1, 1), (4, 900), (900, 4)])
@pytest.mark.parametrize("names", [("total", "gradient"), tuple(LOSS_COLORS)])
def test_every_term_has_the_colour_of_plot_losses(loss_preview, size, names):
    shown = loss_preview(torch.full((1, 3, *size), 1.0), terms(*names), ["frame 2 of 5", "evaluation 12 of 30"])
    assert shown.shape[2] <= 384 and shown.shape[3] <= 512
    assert colors_in(bytes_of(shown)) == set(names)


def test_curves_fall_and_lie_in_the_order_of_their_values(loss_preview):
    pixels = bytes_of(loss_preview(torch.ones(1, 3, 300, 500), terms("gradient", "style"), ["evaluation 12 of 30"]))
    pixels = pixels[:, :250]  # without the names

    def height_of(name, columns):
        found = (np.abs(pixels[:, columns].astype(int) - ImageColor.getrgb(LOSS_COLORS[name])).max(-1) < 60).nonzero()[
            0
        ]
        return found.mean()

    start, end = slice(35, 60), slice(170, 220)
    for name in ("gradient", "style"):
        assert height_of(name, end) > height_of(name, start) + 20
    assert height_of("style", start) > height_of("gradient", start)


def test_the_present_values_and_the_heading_are_written(loss_preview):
    def shown(heading="evaluation 12 of 30", last=0.5):
        values = terms("total", "content")
        values["content"][-1] = last
        return bytes_of(loss_preview(torch.ones(1, 3, 300, 500), values, [heading]))[:, 360:]

    assert not np.array_equal(shown(), shown(heading="evaluation 13 of 30"))
    assert not np.array_equal(shown(), shown(last=0.4))
    assert np.array_equal(shown(), shown())


@pytest.mark.parametrize("values", [{}, {"total": [0.0]}, {"total": [float("nan")], "style": [float("inf")]}])
def test_losses_without_a_curve(loss_preview, values):
    shown = loss_preview(picture(300, 500), values, ["evaluation 1 of 30"])
    assert shown.isfinite().all()
    assert shown.shape[2] <= 384 and shown.shape[3] <= 512


def test_the_picture_is_not_changed_and_may_be_transparent_or_beyond_0_to_1(loss_preview):
    image = torch.cat([picture(100, 150) * 3 - 1, torch.zeros(1, 1, 100, 150)], 1)
    before = image.clone()
    shown = loss_preview(image, terms("total"), ["evaluation 12 of 30"])
    assert shown.shape[1] == 3
    assert 0 <= float(shown.min()) < float(shown.max()) <= 1
    assert torch.equal(image, before)


@pytest.fixture
def previews(host, monkeypatch):
    """What a node shows when a preview is due at every look, as (step, picture), the headings and the lengths of the curves."""
    import comfy.utils

    look, seen = itertools.count(), SimpleNamespace(pictures=[], headings=[], lengths=[])
    monkeypatch.setattr(module(host, "host"), "time", SimpleNamespace(monotonic=lambda: next(look)))

    def hook(value, total, preview, node_id=None):
        if preview:
            seen.pictures.append((value, np.asarray(preview[1])))

    compose = module(host, "deep").loss_preview

    def recorded(image, terms, heading):
        seen.headings.append(heading)
        seen.lengths.append(len(terms["total"]))
        return compose(image, terms, heading)

    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", hook)
    monkeypatch.setattr(module(host, "deep"), "loss_preview", recorded)
    return seen


def scene(frames=1):
    object_, target = picture(64, 80).movedim(1, -1), picture(64, 80, 3).movedim(1, -1)
    mask = torch.zeros(1, 64, 80)
    mask[:, 16:48, 20:60] = 1
    return object_, mask, target.repeat(frames, 1, 1, 1)


def test_stage_1_shows_composite_and_terms_of_every_frame(host, previews):
    object_, mask, target = scene(2)
    host.run_node(STAGE_1, object=object_, mask=mask, target=target, iterations=4)
    frames = [heading[0] for heading in previews.headings]
    assert set(frames) == {"frame 1 of 2", "frame 2 of 2"}
    assert frames == sorted(frames)
    assert previews.headings[0] == ["frame 1 of 2", "evaluation 1 of 4"]
    assert "evaluation 1 of 4" in previews.headings[frames.index("frame 2 of 2")]
    assert previews.lengths == [int(heading[1].split()[1]) for heading in previews.headings]
    for _, shown in previews.pictures:
        assert {"gradient", "content", "style"} <= colors_in(shown)
        assert shown[:200].std() > 10
    steps = [step for step, _ in previews.pictures]
    assert steps == sorted(steps)


def test_stage_2_shows_the_saturation_loss(host, previews):
    image, mask, target = scene()
    saturation = host.run_node(SATURATION)
    host.run_node(STAGE_2, image=image, mask=mask, target=target, iterations=3, saturation=saturation)
    assert previews.headings[0] == ["evaluation 1 of 3"]
    assert "saturation" in colors_in(previews.pictures[-1][1])
    assert "gradient" not in colors_in(previews.pictures[-1][1])
