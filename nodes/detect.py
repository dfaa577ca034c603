"""From a phrase to boxes."""

import logging

import torch
from comfy_api.latest import io

from ..segmentation import text_boxes
from ..segmentation.checkpoints import GROUNDING_DINO
from ..segmentation.grounding_dino import (
    PACKAGE,
    TRANSFORMERS,
    detector_from_folder,
    detector_from_weights,
    working_bytes,
)
from ..segmentation.phrases import read_prompt, tokenize
from ..segmentation.vocabulary import read_vocabulary
from .box_preview import draw_boxes
from .host import Progress, managed, on_compute_device, output_image, read_weights
from .inputs import Batch, read_image, require_choices, require_numbers_in_range
from .model_files import (
    download_input,
    find,
    find_or_fetch,
    find_or_fetch_vocabulary,
    find_vocabulary,
    fingerprint,
    model_choices,
)
from .sockets import GroundingDINO

logger = logging.getLogger(__name__)

AUTO = "auto"


class LoadGroundingDINO(io.ComfyNode):
    """Loads the network that finds objects by their names."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DeepBlend_LoadGroundingDINO",
            display_name="Load GroundingDINO",
            category="DeepBlend",
            description="Loads a GroundingDINO: an original checkpoint (.pth, or .safetensors with its names) or a Hugging Face "
            "folder (config.json and model.safetensors), from models/grounding-dino or models/groundingdino.",
            search_aliases=[
                "grounding dino",
                "grounded sam",
                "open vocabulary detection",
                "text detection",
                "detector",
            ],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=model_choices(GROUNDING_DINO),
                    tooltip="Swin-T (groundingdino_swint_ogc) is the smaller and usual one, Swin-B finds more in crowded pictures. "
                    "Original checkpoints also need BERT's vocab.txt, beside them or in models/bert-base-uncased.",
                ),
                io.Combo.Input(
                    "backend",
                    options=[AUTO, TRANSFORMERS, PACKAGE],
                    default=AUTO,
                    advanced=True,
                    tooltip="The library that runs the network; both give the same boxes. Auto is transformers, which ComfyUI "
                    "brings; groundingdino-py has to be installed, and reads original checkpoints only.",
                ),
                download_input(),
            ],
            outputs=[GroundingDINO.Output("model", tooltip="The network, for Text to Box.")],
        )

    @classmethod
    def fingerprint_inputs(cls, model, backend=AUTO, download=False):
        path = model and find(GROUNDING_DINO, model)  # None where it comes through a link
        vocabulary = path and not download and find_vocabulary(path)
        return (
            fingerprint(GROUNDING_DINO, model, download),
            vocabulary and (str(vocabulary), vocabulary.stat().st_mtime_ns),
        )

    @classmethod
    def execute(cls, model, backend, download=False) -> io.NodeOutput:
        require_choices(cls, backend=backend)
        path = find_or_fetch(GROUNDING_DINO, model, download)
        vocabulary_path = _vocabulary_path(path, download)
        # What is built in inference mode cannot be written to outside of it, as memory management may do.
        with torch.inference_mode(False):
            try:
                detector = _read_detector(path, backend)
                vocabulary = read_vocabulary(vocabulary_path)
                if vocabulary.size > detector.architecture.text_tokens:
                    raise ValueError(
                        f"it knows {detector.architecture.text_tokens} tokens, but {vocabulary_path} has {vocabulary.size}"
                    )
            except ValueError as error:
                raise ValueError(f"model {model!r}: {error}") from error
            return io.NodeOutput({"patcher": managed(detector), "config": {"name": model, "vocabulary": vocabulary}})


def _vocabulary_path(path, download):
    in_folder = path / "tokenizer.json"
    if in_folder.is_file() and not (path / "vocab.txt").is_file():
        return in_folder
    return find_or_fetch_vocabulary(path, download)


def _read_detector(path, backend):
    if not path.is_dir():
        return detector_from_weights(read_weights(path), TRANSFORMERS if backend == AUTO else backend)
    if backend == PACKAGE:
        raise ValueError(f"{PACKAGE} reads original checkpoints only; choose {TRANSFORMERS} for folders")
    return detector_from_folder(path)


class TextToBox(io.ComfyNode):
    """Finds the objects that phrases name."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DeepBlend_TextToBox",
            display_name="Text to Box",
            category="DeepBlend",
            description="Finds what a phrase names and puts boxes around it (GroundingDINO). The boxes go into SAM Mask, GrabCut "
            "Mask, Place Object and ComfyUI's own nodes.",
            search_aliases=["text to box", "grounding dino", "detect", "detection", "find object", "prompt", "bbox"],
            inputs=[
                GroundingDINO.Input("model", tooltip="From Load GroundingDINO."),
                io.Image.Input("image", tooltip="The picture to look in."),
                io.String.Input(
                    "prompt",
                    default="",
                    multiline=True,
                    tooltip='What to look for, in English: "bird . red car" for several phrases, separated by full stops or commas. '
                    'A phrase may have a threshold of its own: "bird:0.4 . red car".',
                ),
                io.Float.Input(
                    "box_threshold",
                    default=0.3,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="The least score of a box. Lower finds more and is wrong more often; 0.25 to 0.4 is usual.",
                ),
                io.Combo.Input(
                    "select",
                    options=list(text_boxes.SELECTIONS),
                    default=text_boxes.ALL,
                    tooltip="Which of the boxes of each frame go on: all, the one with the best score, the largest, the one farthest "
                    "left or right, or the one with the number in index.",
                ),
                io.Int.Input(
                    "index",
                    default=0,
                    min=0,
                    max=899,
                    tooltip="The box's number, 0 for the best score. Only read when select is index.",
                ),
            ],
            outputs=[
                io.BoundingBox.Output(
                    "bboxes",
                    tooltip="A list of boxes per frame, each with its phrase as label and its score, best first.",
                ),
                io.Image.Output("preview", tooltip="The picture with the boxes, phrases and scores drawn in."),
            ],
        )

    @classmethod
    def execute(cls, model, image, prompt, box_threshold, select, index) -> io.NodeOutput:
        require_choices(cls, select=select)
        require_numbers_in_range(cls, box_threshold=box_threshold, index=index)
        image = read_image("image", image)
        phrases = read_prompt(prompt, box_threshold)
        ids, positions = tokenize(phrases, model["config"]["vocabulary"], model["patcher"].model.text_length)
        progress = Progress(len(image))
        frames, previews = [], []
        height, width = text_boxes.input_size(*image.shape[-2:])
        progress(0)
        detector = on_compute_device(model["patcher"], working_bytes(model["patcher"].model, height, width, len(ids)))
        for sample in Batch(image=image):
            picture = sample["image"][:, :3]
            tokens = torch.tensor([ids], device=picture.device)
            logits, boxes = detector(text_boxes.detector_pixels(picture), tokens)
            scores = text_boxes.phrase_scores(logits[0], positions)
            found = text_boxes.boxes_above_thresholds(scores, boxes[0], phrases, *picture.shape[:1:-1])
            frames.append(text_boxes.select_boxes(found, select, index))
            _warn_of_no_box(len(frames) - 1, frames[-1], found, phrases, scores, index)
            previews.append(draw_boxes(picture[0], frames[-1], [phrase.text for phrase in phrases]))
            progress(len(frames), previews[-1][None])
        logger.info("Text to Box: %d boxes in %d frames", sum(map(len, frames)), len(frames))
        return io.NodeOutput(frames, output_image(torch.stack(previews)))


def _warn_of_no_box(frame, boxes, found, phrases, scores, index):
    if found and not boxes:
        logger.warning("Text to Box: frame %d has %d boxes, so none of the index %d", frame, len(found), index)
    elif not found:
        best = ", ".join(
            f"{phrase.text!r} {score:.2f} (threshold {phrase.threshold:g})"
            for phrase, score in zip(phrases, scores.amax(0).tolist(), strict=True)
        )
        logger.warning("Text to Box: no box in frame %d; the best scores are %s", frame, best)
