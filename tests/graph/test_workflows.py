"""The workflows that users get: the API twin runs, and the file for the editor is the same graph."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from tiny_diffusion import small
from workflow_files import load, to_api

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.json"))
# In pixels of the editor: inputs, widgets and 200 for the picture.
HEIGHTS = {"DeepBlend_GrabCutMask": 320, "DeepBlend_SAMMask": 440, "DeepBlend_MaskMorphology": 500}


@pytest.fixture
def random_networks(host):
    """Networks that find nothing, a PAN that sharpens and diffusion models that paint noise, under the names of the
    published ones or of the tests, for the workflows that need files."""
    import folder_paths

    from grounding_dino_networks import tiny_vocabulary, tiny_weights
    from paint_by_example_networks import checkpoint_with_quick_vae
    from pan_networks import fitted_weights
    from sam_networks import tiny_sam_weights
    from tiny_diffusion import put_checkpoint

    models = Path(folder_paths.models_dir)
    for name in ("grounding-dino", "sams", "upscale_models", "checkpoints"):
        (models / name).mkdir(parents=True, exist_ok=True)
    detector = models / "grounding-dino" / "groundingdino_swint_ogc.pth"
    segmenter = models / "sams" / "sam_vit_b_01ec64.pth"
    torch.save({"model": tiny_weights()}, detector)
    vocabulary = tiny_vocabulary(detector.parent)
    torch.save(tiny_sam_weights(), segmenter)
    pan = models / "upscale_models" / "PANx2_DF2K.pth"
    torch.save(fitted_weights(2), pan)
    painter = models / "checkpoints" / "paint_by_example.ckpt"
    torch.save(checkpoint_with_quick_vae(), painter)
    checkpoint = put_checkpoint()
    yield
    for path in (detector, vocabulary, segmenter, pan, painter, checkpoint):
        path.unlink()


def shortened(prompt, iterations=3):
    """The same graph with few iterations of deep blending, which take about a second each, with a small diffusion model and
    few steps of sampling."""
    for entry in prompt.values():
        if entry["class_type"] in ("DeepBlend_Stage1", "DeepBlend_Stage2"):
            assert entry["inputs"]["iterations"] > iterations
            entry["inputs"]["iterations"] = iterations
    return small(prompt)


def test_every_workflow_has_its_twin_and_a_thumbnail():
    assert NAMES
    assert NAMES == sorted(path.stem for path in (WORKFLOWS / "api").glob("*.json"))
    assert NAMES == sorted(path.stem for path in WORKFLOWS.glob("*.jpg"))
    for path in WORKFLOWS.glob("*.jpg"):
        with Image.open(path) as thumbnail:
            assert thumbnail.size == (600, 400), path


@pytest.mark.parametrize("name", NAMES)
def test_editor_file_and_twin_are_the_same_graph(host, name):
    twin = load(WORKFLOWS / "api" / f"{name}.json")
    twin = {node: {"class_type": entry["class_type"], "inputs": entry["inputs"]} for node, entry in twin.items()}
    assert to_api(load(WORKFLOWS / f"{name}.json"), host.nodes.NODE_CLASS_MAPPINGS) == twin


@pytest.mark.parametrize("name", NAMES)
def test_editor_file_is_consistent(name):
    """Both ends of every link know it, and ids are unique: what the editor otherwise repairs or drops."""
    workflow = load(WORKFLOWS / f"{name}.json")
    nodes = {node["id"]: node for node in workflow["nodes"]}
    assert len(nodes) == len(workflow["nodes"])
    assert workflow["last_node_id"] == max(nodes)
    for link, source, output, target, slot, kind in workflow["links"]:
        assert link in nodes[source]["outputs"][output]["links"]
        assert nodes[target]["inputs"][slot]["link"] == link
        assert nodes[target]["inputs"][slot]["type"] == kind
    notes = [node["widgets_values"][0] for node in nodes.values() if node["type"] == "MarkdownNote"]
    assert notes
    assert not any("`" in note for note in notes), "Vue nodes show code in blue on blue"


@pytest.mark.parametrize("name", NAMES)
def test_mask_nodes_have_room_for_their_picture(name):
    """Else they grow over the nodes below them when they have run; without `image` Mask Morphology shows no picture."""
    workflow = load(WORKFLOWS / f"{name}.json")
    for node in workflow["nodes"]:
        if node["type"] in HEIGHTS:
            assert node["size"][1] >= HEIGHTS[node["type"]], node["id"]
            assert all(each["link"] for each in node["inputs"] if each["name"] in ("mask", "image"))
            assert node["type"] != "DeepBlend_MaskMorphology" or "image" in [each["name"] for each in node["inputs"]]


@pytest.mark.parametrize("name", NAMES)
def test_twin_runs_and_a_second_run_comes_from_the_cache(host, photographs, random_networks, name):
    prompt = shortened(load(WORKFLOWS / "api" / f"{name}.json"))
    host.executor = host.new_executor()
    first = host.run(prompt)
    assert first.success, first.error
    assert first.cached == []
    second = host.run(prompt)
    assert second.success
    ours = {node for node, entry in prompt.items() if entry["class_type"].startswith("DeepBlend_")}
    assert ours <= set(second.cached)


@pytest.mark.parametrize(
    ("name", "saved_as", "target", "box"),
    [
        ("auto_transfer", "auto", "coffee", (480, 260, 590, 376)),
        ("object_transfer", "object", "coffee", (480, 260, 590, 376)),
        ("poisson_transfer", "poisson", "coffee", (480, 260, 590, 376)),
        ("paper_recipe", "paper", "immunohistochemistry", (185, 210, 330, 355)),
        ("painting_transfer", "painting", "immunohistochemistry", (110, 95, 260, 245)),
        ("frame_cut_object", "frame_cut", "coffee", (505, 200, 601, 360)),
    ],
)
def test_workflow_moves_the_patch_and_nothing_else(host, photographs, name, saved_as, target, box):
    import folder_paths

    prompt = load(WORKFLOWS / "api" / f"{name}.json")
    assert host.run(shortened(prompt) if target == "immunohistochemistry" else prompt).success
    files = sorted(Path(folder_paths.get_output_directory(), "deepblend").glob(f"{saved_as}_*.png"))
    result, target = np.asarray(Image.open(files[-1])).astype(int), getattr(skimage.data, target)().astype(int)
    left, top, right, bottom = box
    ys, xs = np.nonzero((result != target).any(-1))
    assert left < xs.min() < xs.max() < right
    assert top < ys.min() < ys.max() < bottom
    middle_y, middle_x = (top + bottom) // 2, (left + right) // 2
    patch = result[middle_y - 20 : middle_y + 20, middle_x - 20 : middle_x + 20].mean((0, 1))
    assert patch[2] > patch[0] + 10  # the patch is blue, wood is not, and tissue only a little


def test_workflow_cuts_the_object_off_at_the_frame(host, photographs):
    """Its mask is full up to the frame's last column, where the object goes on as it came."""
    placed, placed_mask, blended, mask = host.run_graph(
        load(WORKFLOWS / "api" / "frame_cut_object.json"), ["9", 0], ["9", 1], ["12", 0], ["12", 1]
    )
    cut = placed_mask[0, :, -1] == 1
    assert 80 < cut.sum() < 150
    assert (mask[0, :, -1] == 1).sum() > 0.8 * cut.sum()
    core = torch.nonzero(cut).flatten()[12:-12]
    for column in (-1, -8):  # no band of the target's light along the frame
        shift = (blended[0, core, column] - placed[0, core, column]).mean(0)
        assert shift.abs().max() < 0.12, column


def test_workflow_with_frames_blends_each_of_them_in_one_way(host, photographs):
    prompt = load(WORKFLOWS / "api" / "batch_frames.json")
    ((batch, _),) = [entry["inputs"]["target"] for entry in prompt.values() if "color_match" in entry["inputs"]]
    frames, mask, blended, mode = host.run_graph(prompt, [batch, 0], ["9", 1], ["12", 0], ["12", 2])
    assert frames.shape == blended.shape == (3, 400, 600, 3)
    torch.testing.assert_close(frames[0], torch.from_numpy(skimage.data.coffee()).float() / 255)
    assert min((frames[0] - frames[1]).abs().mean(), (frames[1] - frames[2]).abs().mean()) > 2 / 255
    around = (mask == 0)[..., None].expand_as(blended)
    assert torch.equal(blended[around], frames[around])
    patches = torch.stack([frame[mask[0] == 1].mean(0) for frame in blended])
    assert (patches[:, 2] > patches[:, 0] + 10 / 255).all(), "the patch is blue in every frame"
    assert (patches - patches[0]).abs().max() < 4 / 255, "and its colours do not jump"
    assert len(mode.splitlines()) == 3 and len({line.split(":")[0] for line in mode.splitlines()}) == 1


def test_workflow_with_a_moving_target_keeps_the_object_where_it_is_in_the_scene(host, photographs):
    """The frames are views of one picture: laid over each other again, the object is the same in all."""
    prompt = load(WORKFLOWS / "api" / "moving_target.json")
    assert prompt["17"]["inputs"]["video"]
    frames, mask, seated, refined, losses = host.run_graph(
        prompt, ["27", 0], ["38", 0], ["12", 1], ["17", 0], ["17", 1]
    )
    assert frames.shape == refined.shape == (3, 280, 420, 3)
    coffee = torch.from_numpy(skimage.data.coffee()).float() / 255
    corners = ((120, 180), (108, 162), (96, 144))
    for frame, (top, left) in zip(frames, corners, strict=True):
        torch.testing.assert_close(frame, coffee[top : top + 280, left : left + 420])
    assert torch.equal(refined[seated == 0], frames[seated == 0])

    def laid_over(picture):
        """What all frames show of the scene."""
        return torch.stack(
            [frame[120 - top :, 180 - left :][:256, :384] for frame, (top, left) in zip(picture, corners, strict=True)]
        )

    masks, pictures = laid_over(mask), laid_over(refined)
    assert masks.sum((1, 2)).min() > 3000
    torch.testing.assert_close(masks, masks[:1].expand_as(masks), atol=1e-4, rtol=0)
    inside = laid_over(seated)[0] == 1
    assert (pictures - pictures[0]).abs()[:, inside].max() <= 1 / 255
    patch = pictures[0][inside].mean(0)
    assert patch[2] > patch[0] + 10 / 255, "the patch is blue"
    evaluations = [len(frame["terms"]["total"]) for frame in losses]
    assert evaluations[0] > 8 and evaluations[1:] == [2, 2]


def test_workflow_with_several_objects_leaves_the_first_one_alone(host, photographs):
    prompt = load(WORKFLOWS / "api" / "several_objects.json")
    first, first_mask, both, second_mask = host.run_graph(prompt, ["12", 0], ["12", 1], ["28", 0], ["28", 1])
    coffee = torch.from_numpy(skimage.data.coffee()).float()[None] / 255
    assert not ((first_mask > 0) & (second_mask > 0)).any()
    for mask, area in ((first_mask, 5600), (second_mask, 3500)):
        assert 0.8 * area < mask.sum() < 1.25 * area
        colors = both[mask == 1].mean(0)
        assert colors[2] > colors[0], "both patches are blue"
    assert torch.equal(both[second_mask == 0], first[second_mask == 0])
    untouched = (first_mask == 0) & (second_mask == 0)
    assert torch.equal(both[untouched], coffee[untouched])


def test_workflow_with_pan_changes_the_object_and_nothing_else(host, photographs, random_networks):
    prompt = load(WORKFLOWS / "api" / "refine_with_pan.json")
    blended, mask, enlarged, refined = host.run_graph(prompt, ["12", 0], ["12", 1], ["18", 0], ["19", 0])
    inside = mask[..., None] > 0
    assert 0.05 < inside.float().mean() < 0.1
    assert torch.equal(refined.where(~inside, 0), blended.where(~inside, 0))
    assert torch.equal(refined[mask == 1], enlarged[mask == 1])
    assert (refined - blended)[mask == 1].abs().mean() > 1 / 255
    edge = inside[..., 0] & (mask < 1)
    mixed = enlarged[edge] * mask[edge][:, None] + blended[edge] * (1 - mask[edge][:, None])
    torch.testing.assert_close(refined[edge], mixed)


def test_workflow_with_pan_takes_pictures_of_any_size(host, photographs, random_networks):
    """An odd size cannot be halved: the picture that comes back is fitted to the one that it was."""
    prompt = load(WORKFLOWS / "api" / "refine_with_pan.json")
    prompt["2"] = {
        "class_type": "ImageScale",
        "inputs": {
            "image": torch.from_numpy(skimage.data.coffee())[None].float() / 255,
            "upscale_method": "area",
            "width": 301,
            "height": 201,
            "crop": "disabled",
        },
    }
    blended, mask, refined = host.run_graph(prompt, ["12", 0], ["12", 1], ["19", 0])
    assert refined.shape == blended.shape == (1, 201, 301, 3)
    assert torch.equal(refined[mask == 0], blended[mask == 0])


def test_workflow_paints_into_the_region_and_nothing_else(host, photographs, random_networks):
    prompt = shortened(load(WORKFLOWS / "api" / "paint_by_example.json"))
    prompt["3"]["inputs"] |= {"width": 320, "height": 216}
    prompt["8"]["inputs"]["scale"] = 0.5
    target, exemplar, placed, region, painted = host.run_graph(
        prompt, ["3", 0], ["5", 0], ["8", 1], ["9", 0], ["16", 0]
    )
    assert target.shape == painted.shape == (1, 216, 320, 3)
    assert torch.equal(painted[region == 0], target[region == 0])
    assert (painted - target)[region == 1].abs().mean() > 10 / 255
    shuttle = torch.from_numpy(skimage.data.astronaut())[:287, 350:468].float() / 255
    assert torch.allclose(exemplar.mean((0, 1, 2)), shuttle.mean((0, 1)), atol=0.01)
    assert ((placed == 0) | (region == 1)).float().mean() > 0.995, "what is placed lies in the region, but for specks"
    assert region.sum() > 1.1 * placed.sum()


def test_workflow_finds_and_moves_what_the_prompt_names(host, photographs, linked):
    """text_to_object_transfer with stand-ins for both networks, which see colours: the orange suit stands for all of her."""
    import folder_paths

    from deepblend.segmentation.vocabulary import read_vocabulary
    from grounding_dino_networks import tiny_vocabulary
    from stand_ins import ColorDetector, ContrastSegmenter, managed

    vocabulary = read_vocabulary(tiny_vocabulary(folder_paths.get_temp_directory()))
    detector = {"patcher": managed(ColorDetector(vocabulary)), "config": {"name": "", "vocabulary": vocabulary}}
    segmenter = {"patcher": managed(ContrastSegmenter()), "config": {"name": ""}, "embeddings": OrderedDict()}
    prompt = shortened(load(WORKFLOWS / "api" / "text_to_object_transfer.json"))
    for loader, handle, user in (("3", detector, "4"), ("6", segmenter, "7")):
        del prompt[loader]
        prompt[user]["inputs"]["model"] = linked(handle)
    prompt["4"]["inputs"]["prompt"] = "red"
    boxes, mask, placed, blended, refined = host.run_graph(prompt, ["4", 0], ["8", 0], ["10", 1], ["13", 0], ["21", 0])
    ((box,),) = boxes
    assert box["label"] == "red" and 200 < box["width"] < 480 and box["y"] > 150, "the suit"
    assert 0.05 < mask.mean() < 0.4
    target = torch.from_numpy(skimage.data.rocket()).float() / 255
    for picture in (blended, refined):
        assert torch.equal(picture[0][placed[0] == 0], target[placed[0] == 0])
        suit = picture[0][placed[0] == 1].mean(0)
        assert suit[0] > 1.5 * suit[2], "the suit is orange, the evening sky is blue"
