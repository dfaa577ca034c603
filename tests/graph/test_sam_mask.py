"""SAM Mask and its loader in the real executor, with a tiny network of random weights and, where the masks must mean
something, a stand-in that follows colours."""

import json
import logging
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from segment_anything import SamPredictor

LOADER, NODE = "DeepBlend_LoadSAM", "DeepBlend_SAMMask"
SCENE = torch.full((1, 64, 96, 3), 0.5)
SCENE[:, 12:32, 8:40] = torch.tensor([0.8, 0.3, 0.2])
SCENE[:, 20:50, 56:84] = torch.tensor([0.2, 0.3, 0.8])
RED, BLUE = torch.zeros(1, 64, 96), torch.zeros(1, 64, 96)
RED[:, 12:32, 8:40] = 1
BLUE[:, 20:50, 56:84] = 1
RED_BOX = {"x": 4, "y": 8, "width": 40, "height": 28}
BLUE_BOX = {"x": 52, "y": 16, "width": 36, "height": 38}
IN_BLUE = '[{"x": 70, "y": 35}]'


@pytest.fixture
def contrast(host, linked):
    from stand_ins import ContrastSegmenter, managed

    return linked({"patcher": managed(ContrastSegmenter()), "config": {"name": ""}, "embeddings": OrderedDict()})


def encodings(handle):
    return handle.value["patcher"].model.encoded


def overlap(mask, other):
    """Intersection over union."""
    return (torch.minimum(mask, other).sum() / torch.maximum(mask, other).sum()).item()


def test_a_box_becomes_the_mask_of_the_object_in_it(host, contrast):
    mask = host.run_node(NODE, model=contrast, image=SCENE, bboxes=RED_BOX)
    assert mask.shape == (1, 64, 96)
    assert overlap(mask, RED) > 0.85


def test_several_boxes_are_united_or_give_a_mask_each(host, contrast):
    run = {"model": contrast, "image": SCENE, "bboxes": [RED_BOX, BLUE_BOX]}
    assert overlap(host.run_node(NODE, **run), RED + BLUE) > 0.85
    masks = host.run_node(NODE, **run, combine="separate")
    assert masks.shape == (2, 64, 96)
    assert overlap(masks[:1], RED) > 0.85 and overlap(masks[1:], BLUE) > 0.85


def test_points_mark_an_object_and_those_outside_of_all_boxes_one_more(host, contrast, linked):
    run = {"model": contrast, "image": SCENE, "combine": "separate"}
    assert overlap(host.run_node(NODE, **run, positive_coords=linked(IN_BLUE)), BLUE) > 0.85
    masks = host.run_node(NODE, **run, bboxes=RED_BOX, positive_coords=linked(IN_BLUE))
    assert len(masks) == 2 and overlap(masks[1:], BLUE) > 0.85
    assert len(host.run_node(NODE, **run, bboxes=BLUE_BOX, positive_coords=linked(IN_BLUE))) == 1


def test_hard_edges_are_0_and_1(host, contrast):
    run = {"model": contrast, "image": SCENE, "bboxes": RED_BOX}
    hard, soft = (host.run_node(NODE, **run, soft_edges=value) for value in (False, True))
    assert set(hard.unique().tolist()) == {0, 1}
    assert ((soft > 0) & (soft < 1)).any()
    assert (hard - soft).abs().max() <= 0.5


def test_frames_have_their_own_boxes_and_one_without_has_an_empty_mask(host, contrast, caplog):
    frames = SCENE.repeat(3, 1, 1, 1)
    with caplog.at_level(logging.WARNING):
        masks = host.run_node(NODE, model=contrast, image=frames, bboxes=[[RED_BOX], [], [BLUE_BOX]])
    assert overlap(masks[:1], RED) > 0.85 and not masks[1].any() and overlap(masks[2:], BLUE) > 0.85
    assert "the mask is empty in 1 of 3 frames" in caplog.text
    masks = host.run_node(
        NODE, model=contrast, image=frames, bboxes=[[RED_BOX, BLUE_BOX], [], [BLUE_BOX]], combine="separate"
    )
    assert [bool(mask.any()) for mask in masks] == [True, True, False, True]


def test_no_box_at_all_never_loads_the_network(host, contrast):
    import comfy.model_management

    comfy.model_management.unload_all_models()
    loaded = list(comfy.model_management.current_loaded_models)
    assert not host.run_node(NODE, model=contrast, image=SCENE, bboxes=[[]]).any()
    assert encodings(contrast) == 0
    assert comfy.model_management.current_loaded_models == loaded


def test_a_picture_is_encoded_once_for_all_prompts(host, contrast, linked):
    host.run_node(NODE, model=contrast, image=SCENE, bboxes=[RED_BOX, BLUE_BOX])
    assert encodings(contrast) == 1
    host.run_node(NODE, model=contrast, image=SCENE, positive_coords=linked(IN_BLUE))
    assert encodings(contrast) == 1
    other = host.run_node(NODE, model=contrast, image=SCENE.flip(2), bboxes=RED_BOX)
    assert encodings(contrast) == 2 and overlap(other, RED) < 0.5
    host.run_node(NODE, model=contrast, image=SCENE, bboxes=RED_BOX)
    assert encodings(contrast) == 2


def test_pictures_of_other_sides_are_other_pictures(host, contrast):
    gray = torch.full((1, 64, 96, 3), 0.5)
    box = {"x": 10, "y": 10, "width": 30, "height": 30}
    for image in (gray, gray.reshape(1, 96, 64, 3)):
        assert host.run_node(NODE, model=contrast, image=image, bboxes=box).shape == image.shape[:3]
    assert encodings(contrast) == 2


def test_the_picture_that_was_used_longest_ago_is_forgotten_first(host, contrast):
    shades = torch.linspace(0, 0.3, 10)[:, None, None, None] + SCENE
    for index in (*range(8), 0, 8, 0):
        host.run_node(NODE, model=contrast, image=shades[index : index + 1], bboxes=RED_BOX)
    assert encodings(contrast) == 9


def test_only_the_last_few_pictures_are_remembered(host, contrast):
    shades = torch.linspace(0, 0.3, 20)[:, None, None, None] + SCENE
    host.run_node(NODE, model=contrast, image=shades, bboxes=RED_BOX)
    assert encodings(contrast) == 20 and len(contrast.value["embeddings"]) <= 8
    host.run_node(NODE, model=contrast, image=shades[-4:], bboxes=BLUE_BOX)
    assert encodings(contrast) == 20
    host.run_node(NODE, model=contrast, image=shades[:1], bboxes=BLUE_BOX)
    assert encodings(contrast) == 21


def test_a_point_lies_in_a_box_if_both_coordinates_do(host, contrast, linked):
    for point in ('[{"x": 20, "y": 60}]', '[{"x": 90, "y": 20}]'):
        masks = host.run_node(
            NODE, model=contrast, image=SCENE, bboxes=RED_BOX, positive_coords=linked(point), combine="separate"
        )
        assert len(masks) == 2


def test_numbers_that_overflow_in_16_bits_get_a_sentence(host, contrast, monkeypatch):
    network = contrast.value["patcher"].model
    encode = network.encode
    monkeypatch.setattr(network, "encode", lambda picture: encode(picture * float("inf")))
    with pytest.raises(RuntimeError, match="overflow in 16 bits with this image; start ComfyUI with --force-fp32"):
        host.run_node(NODE, model=contrast, image=SCENE, bboxes=RED_BOX)
    assert not contrast.value["embeddings"]


def test_more_objects_ask_for_more_memory(host, contrast, monkeypatch):
    import comfy.model_management

    load, asked = comfy.model_management.load_models_gpu, []

    def observed(models, memory_required, **options):
        asked.append(memory_required)
        return load(models, memory_required=memory_required, **options)

    monkeypatch.setattr(comfy.model_management, "load_models_gpu", observed)
    for boxes in ([RED_BOX], [RED_BOX] * 16, [RED_BOX] * 40):
        host.run_node(NODE, model=contrast, image=SCENE, bboxes=boxes)
    one_mask = 4 * 64 * 96
    assert asked[1] - asked[0] >= 15 * one_mask
    assert asked[2] == asked[1], "sixteen at a time"


def test_half_precision_images(host, contrast):
    mask = host.run_node(NODE, model=contrast, image=SCENE.half(), bboxes=RED_BOX)
    assert overlap(mask.float(), RED) > 0.85


def test_a_box_that_reaches_out_of_the_picture_is_cut(host, contrast):
    scene = torch.full((1, 64, 96, 3), 0.5)
    scene[:, 20:50, 70:] = torch.tensor([0.2, 0.3, 0.8])
    mask = host.run_node(NODE, model=contrast, image=scene, bboxes={"x": 60, "y": 10, "width": 80, "height": 50})
    assert mask[0, 25:45, 75:].all()


def test_rgba_pictures_count_by_their_colours(host, contrast):
    rgba = torch.cat([SCENE, torch.zeros_like(SCENE[..., :1])], -1)
    assert overlap(host.run_node(NODE, model=contrast, image=rgba, bboxes=RED_BOX), RED) > 0.85


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({}, "neither bboxes nor positive_coords mark an object; wire one of them"),
        ({"negative_coords": IN_BLUE}, "negative_coords alone do not select anything"),
        ({"positive_coords": "70, 35"}, "positive_coords is not JSON"),
        ({"positive_coords": '[{"x": 700, "y": 35}]'}, "the point x=700 y=35 lies outside the picture of 96×64 pixels"),
        (
            {"bboxes": {"x": 100, "y": 0, "width": 5, "height": 5}},
            "x=100 y=0 width=5 height=5 lies outside the picture",
        ),
        ({"bboxes": [[RED_BOX], [RED_BOX]]}, "boxes for 2 frames but the batch has 1"),
        ({"bboxes": RED_BOX, "image": SCENE[..., 0]}, r"image has the shape \[1, 64, 96\]"),
    ],
)
def test_bad_input_gets_a_sentence(host, contrast, linked, inputs, sentence):
    inputs = {name: linked(value) if isinstance(value, str) else value for name, value in inputs.items()}
    with pytest.raises(RuntimeError, match=sentence):
        host.run_node(NODE, **{"model": contrast, "image": SCENE, **inputs})


def test_linked_values_are_checked(host, contrast, linked):
    with pytest.raises(RuntimeError, match="candidate is 'middle'; 'best', 'largest', 'smallest'"):
        host.run_node(NODE, model=contrast, image=SCENE, bboxes=RED_BOX, candidate=linked("middle"))


def test_the_network_is_moved_outside_of_inference_mode(host, contrast, monkeypatch):
    """Or another node could not move it back outside of it; on a CPU nothing is moved and nothing would show."""
    import comfy.model_management

    load, modes = comfy.model_management.load_models_gpu, []

    def observed(*arguments, **options):
        modes.append(torch.is_inference_mode_enabled())
        return load(*arguments, **options)

    monkeypatch.setattr(comfy.model_management, "load_models_gpu", observed)
    host.run_node(NODE, model=contrast, image=SCENE, bboxes=RED_BOX)
    assert modes == [False]


# The loader, with a tiny network of random weights.


@pytest.fixture(scope="module")
def folder(host):
    import folder_paths

    from sam_networks import tiny_sam_folder, tiny_sam_weights

    place = Path(folder_paths.models_dir, "sams")
    place.mkdir(parents=True, exist_ok=True)
    torch.save(tiny_sam_weights(), place / "tiny.pth")
    save_file({name: value.clone() for name, value in tiny_sam_weights().items()}, place / "tiny.safetensors")
    tiny_sam_folder(place / "sub" / "tiny")
    return place


# Share of the pixels, and of a soft mask's range. A graphics card computes in 16 bits.
DIFFERING, SOFT_DIFFERENCE = (0.02, 0.05) if torch.cuda.is_available() else (1e-3, 1e-3)
PICTURE = torch.rand(1, 128, 256, 3, generator=torch.Generator().manual_seed(1))
PICTURE = PICTURE.mul(255).round() / 255
BOXES = [{"x": 20, "y": 10, "width": 100, "height": 90}, {"x": 130, "y": 30, "width": 90, "height": 60}]
POINTS = {"positive_coords": '[{"x": 60, "y": 50}, {"x": 200, "y": 100}]', "negative_coords": '[{"x": 10, "y": 120}]'}


def test_masks_are_those_of_the_original_library(host, linked, folder):
    """segment-anything's own predictor, prompt by prompt."""
    from sam_networks import tiny_sam

    predictor = SamPredictor(tiny_sam())
    predictor.set_image(PICTURE[0].mul(255).byte().numpy())
    expected = []
    for box in BOXES:
        corners = torch.tensor([[box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]]]).float()
        expected.append(predictor.predict_torch(None, None, corners, multimask_output=False)[0][0, 0])
    handle = linked(host.run_node(LOADER, model="tiny.pth"))
    masks = host.run_node(NODE, model=handle, image=PICTURE, bboxes=BOXES, combine="separate", soft_edges=False)
    assert 0.02 < masks.mean() < 0.98, "the masks are no test otherwise"
    assert (masks != torch.stack(expected).float()).float().mean() < DIFFERING


def test_points_go_with_a_box_as_in_the_original_library(host, linked, folder):
    from sam_networks import tiny_sam

    predictor = SamPredictor(tiny_sam())
    predictor.set_image(PICTURE[0].mul(255).byte().numpy())
    box, inside, negative = BOXES[0], [60.0, 50.0], [10.0, 120.0]
    corners = torch.tensor([[box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]]]).float()
    points, labels = torch.tensor([[inside, negative]]), torch.tensor([[1, 0]])
    expected = predictor.predict_torch(points, labels, corners, multimask_output=False)[0][0, 0].float()
    handle = linked(host.run_node(LOADER, model="tiny.pth"))
    run = {"model": handle, "image": PICTURE, "bboxes": box, "soft_edges": False}
    coords = {"positive_coords": '[{"x": 60, "y": 50}]', "negative_coords": '[{"x": 10, "y": 120}]'}
    mask = host.run_node(NODE, **run, **{name: linked(text) for name, text in coords.items()})[0]
    assert (mask != expected).float().mean() < DIFFERING
    for name, text in coords.items():
        assert (host.run_node(NODE, **run, **{name: linked(text)})[0] != expected).any(), "the points matter"


def test_no_weight_is_an_inference_tensor(host, folder):
    for model in ("tiny.pth", "sub/tiny"):
        network = host.run_node(LOADER, model=model)["patcher"].model
        assert not any(value.is_inference() for value in (*network.parameters(), *network.buffers()))


@pytest.mark.parametrize("model", ["tiny.safetensors", "sub/tiny"])
def test_all_forms_of_a_network_give_the_same_masks(host, linked, folder, model):
    run = {"image": PICTURE, "bboxes": BOXES, **{name: linked(text) for name, text in POINTS.items()}}
    expected = host.run_node(NODE, model=linked(host.run_node(LOADER, model="tiny.pth")), **run)
    found = host.run_node(NODE, model=linked(host.run_node(LOADER, model=model)), **run)
    assert 0.02 < expected.mean() < 0.98
    torch.testing.assert_close(found, expected, atol=SOFT_DIFFERENCE, rtol=0)


def test_batches_and_memory_management_change_nothing(host, linked, folder):
    import comfy.model_management

    frames = torch.cat([PICTURE, PICTURE.flip(2)])
    handle = linked(host.run_node(LOADER, model="tiny.pth"))
    masks = host.run_node(NODE, model=handle, image=frames, bboxes=BOXES)
    assert handle.value["patcher"] in [entry.model for entry in comfy.model_management.current_loaded_models]
    comfy.model_management.unload_all_models()
    handle.value["embeddings"].clear()
    assert torch.equal(host.run_node(NODE, model=handle, image=frames[1:], bboxes=BOXES), masks[1:])
    assert not torch.equal(masks[0], masks[1])


def test_a_16_bit_encoder_keeps_the_masks(host, linked, folder, monkeypatch):
    pack = sys.modules[host.nodes.NODE_CLASS_MAPPINGS[NODE].__module__]
    exact = linked(host.run_node(LOADER, model="tiny.pth"))
    monkeypatch.setattr(pack, "half_precision", lambda: torch.bfloat16)
    half = linked(host.run_node(LOADER, model="tiny.safetensors"))
    network = half.value["patcher"].model
    assert {value.dtype for value in network.encoder.parameters()} == {torch.bfloat16}
    assert network.encoder.training is False
    masks = [host.run_node(NODE, model=handle, image=PICTURE, bboxes=BOXES) for handle in (exact, half)]
    assert masks[1].dtype == torch.float32
    assert (masks[0] - masks[1]).abs().mean() < 0.05


def test_cancelling_stops_between_prompts(host, linked, folder, monkeypatch):
    import comfy.model_management

    handle = linked(host.run_node(LOADER, model="tiny.pth"))
    pack = sys.modules[host.nodes.NODE_CLASS_MAPPINGS[NODE].__module__]
    decode = pack.prompt_masks

    def cancelled(*arguments):
        comfy.model_management.interrupt_current_processing()
        return decode(*arguments)

    monkeypatch.setattr(pack, "prompt_masks", cancelled)
    with pytest.raises(RuntimeError, match="interrupted"):
        host.run_node(NODE, model=handle, image=PICTURE, bboxes=BOXES * 20)


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("mask_decoder.hf_token.weight", "SAM-HQ"),
        ("image_encoder.patch_embed.seq.0.c.weight", "MobileSAM"),
        ("image_encoder.trunk.patch_embed.proj.weight", "SAM ?2"),
    ],
)
def test_relatives_are_refused_by_name(host, folder, key, sentence):
    from sam_networks import tiny_sam_weights

    torch.save({**tiny_sam_weights(), key: torch.zeros(1)}, folder / "relative.pth")
    with pytest.raises(RuntimeError, match=rf"model 'relative\.pth': .*{sentence}"):
        host.run_node(LOADER, model="relative.pth")


def test_a_folder_of_another_network_is_refused_by_name(host, folder):
    other = folder / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"model_type": "sam2"}))
    with pytest.raises(RuntimeError, match=r"model 'other': .*sam2"):
        host.run_node(LOADER, model="other")
