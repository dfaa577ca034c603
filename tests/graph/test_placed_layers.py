"""Place Object's placement as layers of ComfyUI's own editor, which came after 0.30."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from pictures import smooth_picture

NODE = "DeepBlend_PlaceObject"
HEIGHT, WIDTH = 150, 200


def picture(height, width, seed, darkest):
    """Of 8 bits, as the editor's are, and smooth enough that every way to resample it gives about the same."""
    smooth = torch.from_numpy(smooth_picture(height, width, seed)).float()[None]
    return (255 * (darkest + 0.4 * smooth)).round() / 255


SOURCE, TARGET = picture(40, 50, 1, 0.1), picture(HEIGHT, WIDTH, 2, 0.5)
ROWS, COLUMNS = torch.arange(40)[:, None] + 0.5, torch.arange(50) + 0.5
# Not in the middle of the source, wider than high, and heavier on one side, so that no turn or reflection looks like another.
MASK = ((((ROWS - 16) / 12) ** 2 + ((COLUMNS - 28) / 18) ** 2 < 1) & ~((ROWS < 16) & (COLUMNS < 28))).float()[None]
PLACES = [
    {},
    {"x": 0.3, "y": 0.62},
    {"scale": 2.3},
    {"scale": 0.6, "flip": True},
    {"rotation": 90.0},
    {"rotation": -180.0, "flip": True},
    {"rotation": 33.0, "scale": 1.7},
    {"rotation": -71.0, "scale": 2.1, "flip": True, "x": 0.4},
    {"x": 0.02, "y": 0.95, "scale": 1.5},
    {"bboxes": [[{"x": 20, "y": 30, "width": 90, "height": 100, "label": "cup"}]], "rotation": 20.0},
]


@pytest.fixture
def layered(host, monkeypatch):
    """The host with the type of layers; where it has none, with a stand-in for its name."""
    from comfy_api.latest import io

    if not hasattr(io, "Layers"):
        monkeypatch.setattr(io, "Layers", io.Custom("LAYERS"), raising=False)
        node = host.nodes.NODE_CLASS_MAPPINGS[NODE]
        for name in ("SCHEMA", "_RETURN_TYPES", "_RETURN_NAMES", "_OUTPUT_IS_LIST", "_OUTPUT_TOOLTIPS"):
            monkeypatch.setattr(node, name, None)
    return host


def placed(host, **inputs):
    """Composite, mask on the canvas and layers."""
    inputs = {"source": SOURCE, "mask": MASK, "target": TARGET, **inputs}
    _, mask, composite, _, layers = host.run_node(NODE, **inputs)
    return composite, mask, layers


def pasted(layers):
    """A document as one picture `[H, W, 3]`, by Pillow: turned about their middle, after the resize, after the reflection."""
    canvas = Image.new("RGBA", layers["canvas"])
    for layer in sorted(layers["layers"], key=lambda layer: layer["z_index"]):
        pixels = layer["image"][0].numpy()
        opacity = 1 - layer["mask"][0].numpy()[..., None] if "mask" in layer else np.ones_like(pixels[..., :1])
        image = Image.fromarray((255 * np.concatenate([pixels[..., :3], opacity], -1)).round().astype(np.uint8))
        if layer.get("flip_h"):
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        width, height = layer.get("w", image.width), layer.get("h", image.height)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        image = image.rotate(-math.degrees(layer.get("rotation", 0)), Image.Resampling.BICUBIC, expand=True)
        middle = layer["x"] + width / 2, layer["y"] + height / 2
        corner = math.floor(middle[0] - image.width / 2 + 0.5), math.floor(middle[1] - image.height / 2 + 0.5)
        whole = Image.new("RGBA", canvas.size)
        whole.paste(image, corner)
        canvas = Image.alpha_composite(canvas, whole)
    assert np.asarray(canvas)[..., 3].min() == 255
    return torch.from_numpy(np.asarray(canvas.convert("RGB")).astype(np.float32) / 255)


def assert_same_but_for_resampling(picture, composite, mask):
    """The object lies within a pixel of its place, and away from its edge the colours agree."""
    difference = (picture - composite[0]).abs().amax(-1)
    inside = mask[0][None, None]
    deep = -torch.nn.functional.max_pool2d(-inside, 7, 1, 3)[0, 0] == 1
    near = torch.nn.functional.max_pool2d(inside, 17, 1, 8)[0, 0] > 0  # as far as kernels reach
    assert deep.any()
    assert difference[~near].max() <= 0.01 / 255
    assert difference[deep].max() < 0.08, "a shift by a pixel of the steepest place"
    assert difference[deep].mean() < 0.03, "or by half a one"
    assert difference.sum() < 0.3 * (TARGET[0] - composite[0]).abs().amax(-1).sum()


@pytest.mark.parametrize("place", PLACES)
def test_layers_show_the_composite(layered, place):
    composite, mask, layers = placed(layered, **place)
    assert layers["version"] == 1
    assert layers["canvas"] == (WIDTH, HEIGHT)
    for layer in layers["layers"]:
        assert layer["type"] == "raster"
        assert all(type(layer[name]) is int for name in ("x", "y", "w", "h", "z_index") if name in layer)
    assert [layer["name"] for layer in layers["layers"]] == ["target", "cup" if "bboxes" in place else "object"]
    assert torch.equal(layers["layers"][0]["image"], TARGET)
    assert_same_but_for_resampling(pasted(layers), composite, mask)


@pytest.mark.parametrize("place", [{"flip": True}, {"rotation": 90.0}, {"rotation": 40.0, "scale": 1.6, "flip": True}])
def test_a_faint_part_on_one_side_does_not_move_the_object(layered, place):
    """The middle of the layer is not that of the object's box, which leaves faint parts aside."""
    mask = MASK[:, :, :40].clone()
    mask = torch.nn.functional.pad(mask, (0, 10))
    mask[:, 14:40, 16:50] = mask[:, 14:40, 16:50].clamp_min(0.2)
    composite, on_canvas, layers = placed(layered, mask=mask, **place)
    assert_same_but_for_resampling(pasted(layers), composite, on_canvas)


def test_an_object_that_keeps_its_pixels_is_exactly_in_its_place(layered):
    composite, _, layers = placed(layered, x=0.3, y=0.62)
    assert (pasted(layers) - composite[0]).abs().max() <= 0.01 / 255


def test_the_layer_holds_the_object_and_little_else(layered):
    _, _, layers = placed(layered)
    layer = layers["layers"][1]
    rows, columns = slice(2, 30), slice(8, 48)  # 2 pixels around it
    assert torch.equal(layer["image"], SOURCE[:, rows, columns])
    assert torch.equal(layer["mask"], 1 - MASK[:, rows, columns]), "1 is transparent there"


def test_what_is_in_front_is_a_layer_in_front(layered):
    occluder = torch.zeros(1, HEIGHT, WIDTH)
    occluder[:, :, 95:115] = 1
    composite, mask, layers = placed(layered, occluder=occluder, scale=2.0)
    assert [layer["name"] for layer in layers["layers"]] == ["target", "object", "occluder"]
    assert torch.equal(layers["layers"][2]["mask"], 1 - occluder)
    assert_same_but_for_resampling(pasted(layers), composite, mask)


def test_a_transparent_target_stays_so(layered):
    target = torch.cat([TARGET, torch.full_like(TARGET[..., :1], 0.5)], -1)
    _, _, layers = placed(layered, target=target)
    assert torch.equal(layers["layers"][0]["image"], target)


def test_of_a_batch_the_first_frame(layered):
    targets = torch.cat([TARGET, 1 - TARGET])
    boxes = [[{"x": 10, "y": 20, "width": 60, "height": 50}], [{"x": 90, "y": 60, "width": 60, "height": 50}]]
    composite, mask, layers = placed(layered, target=targets, bboxes=boxes)
    assert torch.equal(layers["layers"][0]["image"], TARGET)
    assert_same_but_for_resampling(pasted(layers), composite[:1], mask)


def test_without_an_object_there_is_the_target(layered):
    _, _, layers = placed(layered, mask=torch.zeros_like(MASK))
    assert [layer["name"] for layer in layers["layers"]] == ["target"]


def test_the_output_comes_last_and_only_where_the_host_has_the_type(host, layered):
    node = host.nodes.NODE_CLASS_MAPPINGS[NODE]
    assert list(node.RETURN_TYPES) == ["IMAGE", "MASK", "IMAGE", "BOUNDING_BOX", "LAYERS"]


def test_an_older_host_has_four_outputs_as_before(host):
    from comfy_api.latest import io

    if hasattr(io, "Layers"):
        pytest.skip("this ComfyUI has the type")
    assert len(host.run_node(NODE, source=SOURCE, mask=MASK, target=TARGET)) == 4
    assert len(host.nodes.NODE_CLASS_MAPPINGS[NODE].define_schema().outputs) == 4


@pytest.mark.parametrize("place", PLACES)
def test_comfyuis_own_compositor_shows_the_composite(host, place):
    compositor = pytest.importorskip("comfy_extras.nodes_compositor", reason="this ComfyUI has no layers; 0.31 has")
    composite, mask, layers = placed(host, **place)
    picture = compositor.ImageCompositor.execute(layers).args[0]
    assert picture.shape == composite.shape
    assert_same_but_for_resampling(picture[0], composite, mask)
