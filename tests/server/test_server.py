"""What only a real server shows: the contract that it publishes, events, previews, cancelling, templates."""

import json
import time
from io import BytesIO
from pathlib import Path
from urllib.request import urlopen

import aiohttp
import numpy as np
import pytest
from PIL import Image

from node_contract import differences, files

CHECKOUT = Path(__file__).resolve().parents[2]
WORKFLOW = json.loads((CHECKOUT / "workflows" / "api" / "poisson_transfer.json").read_text(encoding="utf-8"))


def number(default, low, high):
    return {"default": default, "min": low, "max": high}


def choice(*options):
    return {"default": options[0], "options": list(options)}


IMAGE, MASK, BOXES = ("IMAGE", {}), ("MASK", {}), ("BOUNDING_BOX", {"forceInput": True})
PRECISION = ("COMBO", choice("auto", "fp32", "bf16"))
VIDEO = ("BOOLEAN", {"default": False})
POINTS = ("STRING", {"forceInput": True})
# Saved workflows depend on these: ids, inputs in their order with defaults and ranges, [optional ones], outputs.
CONTRACT = {
    "DeepBlend_LoadGroundingDINO": (
        {
            "model": ("COMBO", files("groundingdino_swint_ogc.pth", "groundingdino_swinb_cogcoor.pth")),
            "backend": ("COMBO", choice("auto", "transformers", "groundingdino-py")),
        },
        {"download": ("BOOLEAN", {"default": False})},
        {"model": "DEEPBLEND_GROUNDING_DINO"},
    ),
    "DeepBlend_TextToBox": (
        {
            "model": ("DEEPBLEND_GROUNDING_DINO", {}),
            "image": IMAGE,
            "prompt": ("STRING", {"default": "", "multiline": True}),
            "box_threshold": ("FLOAT", number(0.3, 0.0, 1.0)),
            "select": ("COMBO", choice("all", "best", "largest", "left", "right", "index")),
            "index": ("INT", number(0, 0, 899)),
        },
        {},
        {"bboxes": "BOUNDING_BOX", "preview": "IMAGE"},
    ),
    "DeepBlend_LoadSAM": (
        {"model": ("COMBO", files("sam_vit_b_01ec64.pth", "sam_vit_l_0b3195.pth", "sam_vit_h_4b8939.pth"))},
        {"download": ("BOOLEAN", {"default": False})},
        {"model": "DEEPBLEND_SAM"},
    ),
    "DeepBlend_SAMMask": (
        {
            "model": ("DEEPBLEND_SAM", {}),
            "image": IMAGE,
            "candidate": ("COMBO", choice("best", "largest", "smallest")),
            "combine": ("COMBO", choice("union", "separate")),
            "soft_edges": ("BOOLEAN", {"default": True}),
        },
        {"bboxes": BOXES, "positive_coords": POINTS, "negative_coords": POINTS},
        {"mask": "MASK"},
    ),
    "DeepBlend_GrabCutMask": (
        {"image": IMAGE, "bboxes": BOXES, "iterations": ("INT", number(5, 1, 50))},
        {},
        {"mask": "MASK"},
    ),
    "DeepBlend_MaskMorphology": (
        {
            "mask": MASK,
            "operation": ("COMBO", choice("erode, then dilate", "dilate, then erode", "seam band")),
            "erode": ("INT", number(2, 0, 512)),
            "dilate": ("INT", number(4, 0, 512)),
            "shape": ("COMBO", choice("disk", "square", "cross")),
            "feather": ("INT", number(0, 0, 512)),
            "fill_holes": ("BOOLEAN", {"default": True}),
            "keep_largest": ("BOOLEAN", {"default": False}),
        },
        {"protect": MASK, "image": IMAGE},
        {"mask": "MASK"},
    ),
    "DeepBlend_PlaceObject": (
        {
            "source": IMAGE,
            "target": IMAGE,
            "x": ("FLOAT", number(0.5, -1.0, 2.0)),
            "y": ("FLOAT", number(0.5, -1.0, 2.0)),
            "scale": ("FLOAT", number(1.0, 0.01, 32.0)),
            "rotation": ("FLOAT", number(0.0, -360.0, 360.0)),
            "flip": ("BOOLEAN", {"default": False}),
        },
        {"mask": MASK, "bboxes": BOXES, "occluder": MASK},
        {"object": "IMAGE", "mask": "MASK", "composite": "IMAGE", "bboxes": "BOUNDING_BOX"},
    ),
    "DeepBlend_AutoBlend": (
        {
            "object": IMAGE,
            "mask": MASK,
            "target": IMAGE,
            "mode": (
                "COMBO",
                choice("auto", "auto, first frame decides", "loose", "tight", "mixed", "same scene"),
            ),
            "edge_softness": ("FLOAT", number(1.0, 0.0, 2.0)),
            "color_fidelity": ("FLOAT", number(1.0, 0.0, 2.0)),
            "color_containment": ("FLOAT", number(1.0, 0.0, 2.0)),
            "color_match": ("FLOAT", number(0.0, 0.0, 1.0)),
        },
        {},
        {"image": "IMAGE", "mask": "MASK", "mode": "STRING"},
    ),
    "DeepBlend_PoissonBlend": (
        {
            "object": IMAGE,
            "mask": MASK,
            "target": IMAGE,
            "guidance": ("COMBO", choice("source", "mixed", "monochrome")),
            "color_fidelity": ("FLOAT", number(0.0, 0.0, 400.0)),
            "surroundings": ("COMBO", choice("auto", "use", "ignore")),
            "feather": ("INT", number(0, 0, 512)),
        },
        {},
        {"image": "IMAGE"},
    ),
    "DeepBlend_GaussianPoisson": (
        {
            "object": IMAGE,
            "mask": MASK,
            "target": IMAGE,
            "color_weight": ("FLOAT", number(1.0, 0.1, 10.0)),
        },
        {"guide": IMAGE},
        {"image": "IMAGE"},
    ),
    "DeepBlend_Multiband": (
        {"object": IMAGE, "mask": MASK, "target": IMAGE, "levels": ("INT", number(0, 0, 12))},
        {},
        {"image": "IMAGE"},
    ),
    "DeepBlend_LoadPerceptualModel": (
        {"model": ("COMBO", choice("built-in", "vgg19-dcbb9e9d.pth"))},
        {"download": ("BOOLEAN", {"default": False})},
        {"features": "DEEPBLEND_FEATURES"},
    ),
    "DeepBlend_Stage1": (
        {
            "object": IMAGE,
            "mask": MASK,
            "target": IMAGE,
            "recipe": ("COMBO", choice("photograph", "painting", "published look")),
            "iterations": ("INT", number(30, 1, 1000)),
            "gradient": ("FLOAT", number(1.0, 0.0, 10.0)),
            "content": ("FLOAT", number(1.0, 0.0, 10.0)),
            "style": ("FLOAT", number(1.0, 0.0, 10.0)),
            "histogram": ("FLOAT", number(0.0, 0.0, 10.0)),
            "tv": ("FLOAT", number(0.0, 0.0, 10.0)),
            "keep_color": ("FLOAT", number(1.0, 0.0, 2.0)),
            "statistics": ("COMBO", choice("object", "picture")),
        },
        {"start": IMAGE, "features": ("DEEPBLEND_FEATURES", {}), "precision": PRECISION, "video": VIDEO},
        {"image": "IMAGE", "losses": "DEEPBLEND_LOSSES"},
    ),
    "DeepBlend_SaturationLoss": (
        {
            "enabled": ("BOOLEAN", {"default": True}),
            "weight": ("FLOAT", number(1.0, 0.0, 10.0)),
            "form": ("COMBO", choice("relative", "paper")),
            "region": ("COMBO", choice("object", "seam")),
            "width": ("INT", number(4, 1, 64)),
        },
        {},
        {"saturation": "DEEPBLEND_SATURATION"},
    ),
    "DeepBlend_Stage2": (
        {
            "image": IMAGE,
            "mask": MASK,
            "target": IMAGE,
            "recipe": ("COMBO", choice("photograph", "painting", "published look")),
            "iterations": ("INT", number(30, 1, 1000)),
            "content": ("FLOAT", number(1.0, 0.0, 10.0)),
            "style": ("FLOAT", number(1.0, 0.0, 10.0)),
            "histogram": ("FLOAT", number(0.0, 0.0, 10.0)),
            "tv": ("FLOAT", number(0.0, 0.0, 10.0)),
            "keep_color": ("FLOAT", number(1.0, 0.0, 2.0)),
            "statistics": ("COMBO", choice("object", "picture")),
        },
        {
            "features": ("DEEPBLEND_FEATURES", {}),
            "saturation": ("DEEPBLEND_SATURATION", {}),
            "precision": PRECISION,
            "video": VIDEO,
        },
        {"image": "IMAGE", "losses": "DEEPBLEND_LOSSES"},
    ),
    "DeepBlend_CropObject": (
        {
            "image": IMAGE,
            "mask": MASK,
            "width": ("INT", {**number(512, 64, 4096), "step": 64}),
            "height": ("INT", {**number(512, 64, 4096), "step": 64}),
            "context": ("FLOAT", number(1.5, 1.0, 10.0)),
            "resize": ("COMBO", choice("enlarge and reduce", "reduce only", "never")),
        },
        {},
        {"image": "IMAGE", "mask": "MASK", "bboxes": "BOUNDING_BOX"},
    ),
    "DeepBlend_StitchObject": (
        {"image": IMAGE, "bboxes": BOXES, "target": IMAGE, "mask": MASK},
        {},
        {"image": "IMAGE"},
    ),
    "DeepBlend_CompareImages": (
        {"image": IMAGE, "reference": IMAGE},
        {"mask": MASK},
        {
            "psnr": "FLOAT",
            "ssim": "FLOAT",
            "mse": "FLOAT",
            "seam_gradient": "FLOAT",
            "seam_saturation": "FLOAT",
            "report": "STRING",
            "plot": "IMAGE",
        },
    ),
    "DeepBlend_PlotLosses": ({"losses": ("DEEPBLEND_LOSSES", {})}, {}, {"image": "IMAGE"}),
    "DeepBlend_LoadPaintByExample": (
        {"model": ("COMBO", {})},
        {},
        {"model": "MODEL", "encoder": "DEEPBLEND_EXEMPLAR", "vae": "VAE"},
    ),
    "DeepBlend_PaintByExample": (
        {"encoder": ("DEEPBLEND_EXEMPLAR", {}), "exemplar": IMAGE, "crop": ("COMBO", choice("center", "none"))},
        {},
        {"positive": "CONDITIONING", "negative": "CONDITIONING"},
    ),
}


@pytest.fixture(scope="session")
def object_info(server):
    return server.get("/object_info")


def inputs_of(info):
    return {**info["input"].get("required", {}), **info["input"].get("optional", {})}


def test_published_nodes_are_those_of_the_contract(object_info):
    published = {
        node for node, info in object_info.items() if info["python_module"] == "custom_nodes.ComfyUI-DeepBlend"
    }
    assert published == set(CONTRACT)


@pytest.mark.parametrize("node", CONTRACT)
def test_inputs_and_outputs_are_those_of_the_contract(object_info, node):
    assert differences(CONTRACT[node], object_info[node]) == []


@pytest.mark.parametrize("node", CONTRACT)
def test_every_node_explains_itself(object_info, node):
    info = object_info[node]
    assert info["category"] == "DeepBlend"
    assert info["description"]
    assert info["search_aliases"]
    for name, (_, options) in inputs_of(info).items():
        assert options["tooltip"], name
    assert all(info["output_tooltips"])


@pytest.mark.parametrize(
    "name",
    [
        "auto_transfer",
        "batch_frames",
        "frame_cut_object",
        "moving_target",
        "object_transfer",
        "paint_by_example",
        "painting_transfer",
        "paper_recipe",
        "poisson_transfer",
        "refine_with_pan",
        "seam_inpainting",
        "several_objects",
        "text_to_object_transfer",
    ],
)
def test_templates_are_listed_and_served(server, name):
    assert name in server.get("/workflow_templates")["ComfyUI-DeepBlend"]
    served = server.get(f"/api/workflow_templates/ComfyUI-DeepBlend/{name}.json")
    assert served == json.loads((CHECKOUT / "workflows" / f"{name}.json").read_text(encoding="utf-8"))
    thumbnail = server.get(f"/api/workflow_templates/ComfyUI-DeepBlend/{name}.jpg")
    assert Image.open(BytesIO(thumbnail)).format == "JPEG"


def test_blueprint_is_listed_and_served(server):
    ours = [
        (number, entry)
        for number, entry in server.get("/global_subgraphs").items()
        if entry["info"]["node_pack"] == "custom_nodes.ComfyUI-DeepBlend"
    ]
    ((number, entry),) = ours
    assert (entry["source"], entry["name"]) == ("custom_node", "Object transfer")
    served = json.loads(server.get(f"/global_subgraphs/{number}")["data"])
    assert served == json.loads((CHECKOUT / "subgraphs" / "Object transfer.json").read_text(encoding="utf-8"))


def test_placement_widget_is_served_as_modules_that_no_browser_keeps(server):
    ours = [path for path in server.get("/extensions") if path.startswith("/extensions/ComfyUI-DeepBlend/")]
    folder = CHECKOUT / "web"
    assert {
        f"/extensions/ComfyUI-DeepBlend/{path.relative_to(folder).as_posix()}" for path in folder.rglob("*js")
    } == set(ours)
    for path in ours:
        with urlopen(server.url + path) as answer:  # noqa: S310, on loopback
            assert "javascript" in answer.headers["Content-Type"]
            assert answer.headers["Cache-Control"] == "no-store", "after an update old files would join new ones"


def test_workflow_runs_and_its_result_can_be_fetched(server):
    run = server.run(WORKFLOW)
    assert run.outcome == "execution_success", run.detail
    (file,) = run.outputs["13"]["images"]
    assert Image.open(BytesIO(server.get("/view", **file))).size == (600, 400)


def large_blend(frames, side=1024):
    """Blends that take about a second each."""
    size = {"width": side, "height": side}
    scale = {"upscale_method": "bilinear", "crop": "disabled", **size}
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": "astronaut.png"}},
        "2": {"class_type": "LoadImage", "inputs": {"image": "coffee.png"}},
        "3": {"class_type": "ImageScale", "inputs": {"image": ["1", 0], **scale}},
        "4": {"class_type": "ImageScale", "inputs": {"image": ["2", 0], **scale}},
        "5": {"class_type": "RepeatImageBatch", "inputs": {"image": ["4", 0], "amount": frames}},
        "6": {"class_type": "SolidMask", "inputs": {"value": 0.0, **size}},
        "7": {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": side - 40, "height": side - 40}},
        "8": {
            "class_type": "MaskComposite",
            "inputs": {"destination": ["6", 0], "source": ["7", 0], "x": 20, "y": 20, "operation": "add"},
        },
        "9": {
            "class_type": "DeepBlend_PoissonBlend",
            "inputs": {
                "object": ["3", 0],
                "mask": ["8", 0],
                "target": ["5", 0],
                "guidance": "source",
                "color_fidelity": 0.0,
                "surroundings": "auto",
                "feather": 0,
            },
        },
        "10": {"class_type": "PreviewImage", "inputs": {"images": ["9", 0]}},
    }


def test_progress_and_previews_arrive_while_it_works(server):
    run = server.run(large_blend(frames=3))
    assert run.outcome == "execution_success", run.detail
    steps = [(data["value"], data["max"]) for _, kind, data in run.events if kind == "progress" and data["node"] == "9"]
    assert [value for value, _ in steps] == sorted(value for value, _ in steps)
    assert steps[-1] == (300, 300)
    assert len(steps) > 2 * 3  # the server may send several of a fast frame as one
    times = [at for at, kind, data in run.events if kind == "progress" and data["node"] == "9"]
    assert run.previews or times[-1] - times[0] < 1  # previews come every 0.3 s, a fast machine may be done before
    assert all(max(Image.open(BytesIO(preview)).size) == 512 for preview in run.previews)


def run_cancelled(server, prompt):
    """A run that is cancelled as soon as node 9 has made a step."""
    cancelled_at = []

    async def cancel(url):
        async with aiohttp.ClientSession() as session:
            await session.post(f"{url}/interrupt")

    def on_event(kind, data, url):
        if kind == "progress" and data["node"] == "9" and data["value"] > 0 and not cancelled_at:
            cancelled_at.append(data["value"])
            return cancel(url)
        return None

    return server.run(prompt, on_event)


def test_cancel_ends_the_run_and_the_next_one_works(server):
    run = run_cancelled(server, large_blend(frames=20))
    assert run.outcome == "execution_interrupted"
    assert run.detail["node_type"] == "DeepBlend_PoissonBlend"
    last = max(data["value"] for _, kind, data in run.events if kind == "progress" and data["node"] == "9")
    assert last < 2000  # it did not work through its 20 frames
    assert server.run(WORKFLOW).outcome == "execution_success"


def stage_1(frames, iterations):
    """Stage 1 in place of the blend; each evaluation takes about a tenth of a second."""
    prompt = large_blend(frames, side=400)
    pictures = {name: prompt["9"]["inputs"][name] for name in ("object", "mask", "target")}
    numbers = {"iterations": iterations, "gradient": 1.0, "content": 1.0, "style": 1.0, "histogram": 0.0, "tv": 0.0}
    choices = {"recipe": "painting", "statistics": "object", "keep_color": 1.0}
    prompt["9"] = {"class_type": "DeepBlend_Stage1", "inputs": {**pictures, **numbers, **choices}}
    return prompt


def test_deep_stages_show_their_losses_with_the_picture(server):
    run = server.run(stage_1(frames=2, iterations=30))
    assert run.outcome == "execution_success", run.detail
    assert run.previews
    for preview in run.previews:
        shown = np.asarray(Image.open(BytesIO(preview)).convert("RGB")).astype(int)
        assert max(shown.shape) == 512
        for color in ((0, 114, 178), (213, 94, 0), (0, 158, 115)):  # gradient, content, style
            assert (np.abs(shown - color).max(-1) < 40).sum() > 60


def test_cancel_ends_a_deep_stage(server):
    run = run_cancelled(server, stage_1(frames=20, iterations=1000))
    assert run.outcome == "execution_interrupted"
    assert run.detail["node_type"] == "DeepBlend_Stage1"


def change(node, **inputs):
    prompt = json.loads(json.dumps(WORKFLOW))
    prompt[node]["inputs"].update(inputs)
    return prompt


def test_values_out_of_range_are_refused_before_anything_runs(server):
    prompt = change("12", color_fidelity=-1.0)
    for preview in ("5", "8", "10", "11"):  # with another valid output ComfyUI runs that one
        del prompt[preview]
    run = server.run(prompt)
    assert run.outcome == "refused"
    (error,) = run.detail["node_errors"]["12"]["errors"]
    assert (error["type"], error["extra_info"]["input_name"]) == ("value_smaller_than_min", "color_fidelity")


def test_bad_input_shows_its_sentence_to_the_user(server):
    run = server.run(change("3", x=5000))
    assert run.outcome == "execution_error"
    assert run.detail["node_type"] == "DeepBlend_GrabCutMask"
    assert run.detail["exception_message"].strip() == (
        "bboxes: the box x=5000 y=335 width=95 height=100 lies outside the picture of 512×512 pixels; it must overlap it"
    )


def test_load_images_placeholder_mask_is_recognised(server):
    run = server.run(change("9", mask=["1", 1]))
    assert run.outcome == "execution_error"
    assert "the picture has no alpha channel; wire a mask" in run.detail["exception_message"]


def test_an_empty_mask_leaves_one_line_in_the_log(server):
    before = server.log_text().count("mask is empty in 1 of 1 frames")
    prompt = change("12", mask=["99", 0])
    prompt["99"] = {"class_type": "SolidMask", "inputs": {"value": 0.0, "width": 600, "height": 400}}
    assert server.run(prompt).outcome == "execution_success"
    time.sleep(0.5)
    assert server.log_text().count("mask is empty in 1 of 1 frames") == before + 1


def test_the_pack_loads_without_a_warning(server):
    lines = [line for line in server.log_text().splitlines() if "DeepBlend" in line and "custom_nodes" in line]
    assert lines
    assert not [line for line in lines if "FAILED" in line or "WARNING" in line]
