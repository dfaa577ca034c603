"""From boxes or points to a mask."""

import hashlib
import logging
from collections import OrderedDict

import torch
from comfy_api.latest import io

from ..segmentation import checkpoints
from ..segmentation.boxes import boxes_per_frame, clip_box
from ..segmentation.grabcut import grabcut_mask
from ..segmentation.points import read_points
from ..segmentation.sam import (
    BEST,
    CHUNK,
    LARGEST,
    SMALLEST,
    Prompt,
    prompt_masks,
    working_bytes,
)
from ..segmentation.sam_original import segmenter_from_weights
from ..segmentation.sam_transformers import segmenter_from_folder
from .host import Progress, half_precision, managed, on_compute_device, output_mask, read_weights
from .inputs import Batch, read_image, require_choices, require_numbers_in_range, some_of
from .mask_preview import mask_previews
from .model_files import download_input, find_or_fetch, fingerprint, model_choices
from .sockets import SAM

logger = logging.getLogger(__name__)

UNION, SEPARATE = "union", "separate"
MASK_COPIES = 6  # of one mask of full size, that are alive while it is made
KEPT_EMBEDDINGS = 8  # of the pictures that a model saw last; each takes 4 MB


class LoadSAM(io.ComfyNode):
    """Loads a Segment Anything network."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DeepBlend_LoadSAM",
            display_name="Load SAM",
            category="DeepBlend",
            description="Loads a Segment Anything network: an original checkpoint (sam_vit_b, sam_vit_l, sam_vit_h) or a Hugging Face "
            "folder (config.json and model.safetensors), from models/sams.",
            search_aliases=["segment anything", "sam loader", "sam vit", "segmentation model"],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=model_choices(checkpoints.SAM),
                    tooltip="ViT-B is fast and small, ViT-H has the best outlines and needs about 6 times the memory and time.",
                ),
                download_input(),
            ],
            outputs=[SAM.Output("model", tooltip="The network, for SAM Mask.")],
        )

    @classmethod
    def fingerprint_inputs(cls, model, download=False):
        return fingerprint(checkpoints.SAM, model, download)

    @classmethod
    def execute(cls, model, download=False) -> io.NodeOutput:
        path = find_or_fetch(checkpoints.SAM, model, download)
        # What is built in inference mode cannot be written to outside of it, as memory management may do.
        with torch.inference_mode(False):
            try:
                load = segmenter_from_folder if path.is_dir() else segmenter_from_weights
                segmenter = load(path if path.is_dir() else read_weights(path))
            except ValueError as error:
                raise ValueError(f"model {model!r}: {error}") from error
            # The encoder is nearly all of the network; the rest decides about the outline and stays exact.
            segmenter.encoder.to(half_precision())
            handle = {"patcher": managed(segmenter), "config": {"name": model}, "embeddings": OrderedDict()}
            return io.NodeOutput(handle)


class SAMMask(io.ComfyNode):
    """Segments the objects that boxes or points mark."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DeepBlend_SAMMask",
            display_name="SAM Mask",
            category="DeepBlend",
            description="Cuts out the object in each box, or under the points (Segment Anything). The network looks at a picture once; "
            "further boxes and points on it are quick.",
            search_aliases=["segment anything", "sam", "segment", "box to mask", "points to mask", "cut out", "mask"],
            inputs=[
                SAM.Input("model", tooltip="From Load SAM."),
                io.Image.Input("image", tooltip="The picture with the objects."),
                io.Combo.Input(
                    "candidate",
                    options=[BEST, LARGEST, SMALLEST],
                    default=BEST,
                    tooltip="What is meant by a box or point: what the network finds most likely, or the largest (the whole) or smallest "
                    "(a part) of the three objects that it takes into account.",
                ),
                io.Combo.Input(
                    "combine",
                    options=[UNION, SEPARATE],
                    default=UNION,
                    tooltip="One mask per frame with all its objects, or one mask per object. A frame without an object has one empty "
                    "mask in both.",
                ),
                io.Boolean.Input(
                    "soft_edges",
                    default=True,
                    tooltip="Edge pixels get the share of them that is object, and the mask fades where the network is unsure of the "
                    "outline. Off: only 0 and 1.",
                ),
                io.BoundingBox.Input(
                    "bboxes",
                    force_input=True,
                    optional=True,
                    tooltip="A box around each object. Positive points in a box and all negative points go with it.",
                ),
                io.String.Input(
                    "positive_coords",
                    force_input=True,
                    optional=True,
                    tooltip='Points on the object, as JSON: [{"x": 120, "y": 80}] in pixels. Those outside of all boxes mark one object '
                    "more.",
                ),
                io.String.Input(
                    "negative_coords",
                    force_input=True,
                    optional=True,
                    tooltip="Points that do not belong to the object, in the same form.",
                ),
            ],
            outputs=[io.Mask.Output("mask", tooltip="1 on the object, 0 elsewhere, in between along its edge.")],
            hidden=[io.Hidden.extra_pnginfo],
            has_intermediate_output=True,
        )

    @classmethod
    def execute(
        cls, model, image, candidate, combine, soft_edges, bboxes=None, positive_coords=None, negative_coords=None
    ) -> io.NodeOutput:
        require_choices(cls, candidate=candidate, combine=combine)
        image = read_image("image", image)
        frames = _prompts_per_frame(image, bboxes, positive_coords, negative_coords)
        progress = Progress(max(sum(1 + len(prompts) for prompts in frames if prompts), 1))
        finished = 0
        if any(frames):
            most = min(max(map(len, frames)), CHUNK)
            of_masks = (most + MASK_COPIES) * 4 * image.shape[-2] * image.shape[-1]
            network = model["patcher"].model
            segmenter = on_compute_device(model["patcher"], working_bytes(network, most) + of_masks)
        masks, pictures = [], []
        for frame, (sample, prompts) in enumerate(zip(Batch(image=image), frames, strict=True)):
            progress(finished)
            picture = sample["image"][0, :3]
            union = torch.zeros(1, *picture.shape[1:])
            found = [union] if combine == UNION or not prompts else []
            if prompts:
                embedding = _embedding(model["embeddings"], segmenter, picture)
                finished += 1
            # A few at a time, since the masks of many objects in a large picture take much memory.
            for start in range(0, len(prompts), CHUNK):
                some = prompts[start : start + CHUNK]
                part = prompt_masks(segmenter, embedding, some, candidate, soft_edges).cpu()
                if combine == SEPARATE:
                    found.append(part)
                else:
                    torch.maximum(union, part.amax(0), out=union)
                finished += len(some)
                progress(finished)
            masks.extend(found)
            pictures.extend([image[frame]] * sum(map(len, found)))
        progress(progress.total)
        masks = torch.cat(masks)
        seen = masks.flatten(1).any(1).tolist()
        if not all(seen):
            logger.warning("SAM Mask: the mask is empty in %s", some_of(seen))
        return io.NodeOutput(output_mask(masks[:, None]), ui=mask_previews(cls, masks[:, None], pictures))


def _prompts_per_frame(image, bboxes, positive_coords, negative_coords):
    """What marks each object of each frame."""
    height, width = image.shape[-2:]
    positive = read_points("positive_coords", positive_coords, width, height)
    negative = read_points("negative_coords", negative_coords, width, height)
    if bboxes is None and not positive:
        also = " negative_coords alone do not select anything." if negative else ""
        raise ValueError(f"neither bboxes nor positive_coords mark an object; wire one of them.{also}")
    frames = [[]] * len(image) if bboxes is None else boxes_per_frame(bboxes, len(image))
    return [_prompts(boxes, positive, negative, width, height) for boxes in frames]


def _prompts(boxes, positive, negative, width, height):
    prompts, outside = [], positive
    for box in boxes:
        box = clip_box(box, width, height)
        corners = (box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"])
        inside = [(x, y) for x, y in positive if corners[0] <= x <= corners[2] and corners[1] <= y <= corners[3]]
        outside = [point for point in outside if point not in inside]
        prompts.append(Prompt(corners, inside, negative))
    return [*prompts, Prompt(None, outside, negative)] if outside else prompts


def _embedding(kept, segmenter, picture):
    """What the network saw in the picture; taken from those kept on the handle where it saw the picture before."""
    pixels = picture.cpu().contiguous()
    key = (tuple(pixels.shape), hashlib.blake2b(pixels.numpy(), digest_size=16).digest())
    if key in kept:
        kept.move_to_end(key)
    else:
        embedding = segmenter.encode(picture)
        if not embedding.features.isfinite().all():
            raise ValueError(
                "model: the network's numbers overflow in 16 bits with this image; start ComfyUI with --force-fp32"
            )
        kept[key] = embedding._replace(features=embedding.features.cpu())
        while len(kept) > KEPT_EMBEDDINGS:
            kept.popitem(last=False)
    return kept[key]._replace(features=kept[key].features.to(picture.device))


class GrabCutMask(io.ComfyNode):
    """Segments the object in a box without a neural network."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DeepBlend_GrabCutMask",
            display_name="GrabCut Mask",
            category="DeepBlend",
            description="Cuts the object out of its box by colour and contrast (GrabCut). Needs no model file.",
            search_aliases=["grabcut", "segment", "segmentation", "cut out", "box to mask", "background removal"],
            inputs=[
                io.Image.Input("image", tooltip="The picture with the object."),
                io.BoundingBox.Input(
                    "bboxes",
                    force_input=True,
                    tooltip="Box around the object, with some background inside the picture around it. "
                    "Several boxes of a frame give one mask of all their objects.",
                ),
                io.Int.Input(
                    "iterations",
                    default=5,
                    min=1,
                    max=50,
                    tooltip="Rounds of refinement. More rounds follow the object's outline better until nothing changes, "
                    "usually by 5 to 10; each costs the same time.",
                ),
            ],
            outputs=[io.Mask.Output("mask", tooltip="1 on the object, 0 elsewhere.")],
            hidden=[io.Hidden.extra_pnginfo],
            has_intermediate_output=True,
        )

    @classmethod
    def execute(cls, image, bboxes, iterations) -> io.NodeOutput:
        require_numbers_in_range(cls, iterations=iterations)
        image = read_image("image", image)
        frames = boxes_per_frame(bboxes, len(image))
        progress = Progress(max(sum(len(boxes) for boxes in frames) * iterations, 1))
        finished = 0

        def on_step(step, _):
            progress(finished + step)

        masks = torch.zeros(len(image), 1, *image.shape[2:])
        for index, boxes in enumerate(frames):
            picture = _to_uint8(image[index])
            for box in boxes:
                masks[index, 0][torch.from_numpy(grabcut_mask(picture, box, iterations, on_step))] = 1
                finished += iterations
        progress(progress.total)
        if not masks.any():
            logger.warning("GrabCut Mask: no object was found in bboxes; the mask is empty")
        return io.NodeOutput(output_mask(masks), ui=mask_previews(cls, masks, image))


def _to_uint8(picture):
    """`[C, H, W]` in 0..1 as the `[H, W, 3]` uint8 array that OpenCV takes."""
    return picture[:3].float().clamp(0, 1).mul(255).round().byte().movedim(0, -1).cpu().numpy()
