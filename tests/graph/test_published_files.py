"""What a user has who once downloaded the published files: a checkpoint of GroundingDINO, BERT's vocabulary and a
checkpoint of SAM, and no network.

The files have the names, the tensors and the sizes of the published ones, with random weights: that they are read and
computed is shown, not what they find. With DEEPBLEND_MODELS set to a models folder that holds the published files
themselves, they are run on photographs whose boxes are known.
"""

import json
import os
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import segment_anything
import torch
from PIL import Image

from transfer_sets import SHARED

DETECTOR, SEGMENTER = "groundingdino_swint_ogc.pth", "sam_vit_b_01ec64.pth"


def find_and_mask(host, linked, image, prompt, **inputs):
    """Boxes and masks of the objects in an image, by the real nodes."""
    graph = {
        "1": {"class_type": "DeepBlend_LoadGroundingDINO", "inputs": {"model": DETECTOR, "backend": "auto"}},
        "2": {
            "class_type": "DeepBlend_TextToBox",
            "inputs": {"model": ["1", 0], "image": image, "prompt": prompt, "index": 0, **inputs},
        },
        "3": {"class_type": "DeepBlend_LoadSAM", "inputs": {"model": SEGMENTER}},
        "4": {
            "class_type": "DeepBlend_SAMMask",
            "inputs": {
                "model": ["3", 0],
                "image": image,
                "bboxes": ["2", 0],
                "candidate": "best",
                "combine": "separate",
                "soft_edges": False,
            },
        },
    }
    (boxes,), masks = host.run_graph(graph, ["2", 0], ["4", 0])
    return boxes, masks


@pytest.fixture
def files(host):
    """The usual folders with the three files."""
    import folder_paths

    from grounding_dino_networks import PLACES, SWIN_T, tiny_weights

    models = Path(folder_paths.models_dir)
    detector, segmenter = models / "grounding-dino" / DETECTOR, models / "sams" / SEGMENTER
    vocabulary = models / "bert-base-uncased" / "vocab.txt"
    for path in (detector, segmenter, vocabulary):
        path.parent.mkdir(parents=True, exist_ok=True)
    weights = tiny_weights(architecture=SWIN_T)
    # What the published file holds beside the network's own weights.
    weights |= {"label_enc.weight": torch.zeros(2001, 256), "bert.embeddings.position_ids": torch.arange(512)[None]}
    torch.save({"model": {f"module.{name}": value for name, value in weights.items()}}, detector)
    torch.save(segment_anything.sam_model_registry["vit_b"]().state_dict(), segmenter)
    tokens = [f"word{number}" for number in range(SWIN_T.text_tokens)]
    for token, number in PLACES.items():
        tokens[number] = token
    vocabulary.write_text("\n".join(tokens) + "\n", encoding="utf-8")
    yield
    for path in (detector, segmenter, vocabulary):
        path.unlink()


@pytest.fixture
def no_network(monkeypatch):
    """Whoever connects fails, and is remembered."""
    attempts = []

    def refuse(_, address):
        attempts.append(address)
        raise OSError("there is no network")

    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: refuse(None, host))
    yield attempts
    assert attempts == []


def test_the_three_files_are_enough_without_a_network(host, linked, files, no_network, monkeypatch):
    monkeypatch.setitem(sys.modules, "groundingdino", None)  # nothing further is installed
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 200, 260, 3, generator=generator)
    boxes, masks = find_and_mask(host, linked, image, "word5000 word5001 . word6000", box_threshold=0.0, select="best")
    (box,) = boxes
    assert box["label"] in ("word5000 word5001", "word6000")
    assert 0 <= box["x"] < box["x"] + box["width"] <= 260 and 0 <= box["y"] < box["y"] + box["height"] <= 200
    assert masks.shape == (1, 200, 260) and set(masks.unique().tolist()) <= {0, 1}


def published(name):
    folder = os.environ.get("DEEPBLEND_MODELS")
    if not folder:
        pytest.skip("DEEPBLEND_MODELS names no folder with the published weights")
    found = sorted(Path(folder).rglob(name))
    if not found:
        pytest.skip(f"there is no {name} in DEEPBLEND_MODELS")
    return found[0]


@pytest.fixture
def published_files(host, monkeypatch):
    import folder_paths

    for name, kind in ((DETECTOR, "grounding-dino"), (SEGMENTER, "sams"), ("vocab.txt", "bert-base-uncased")):
        places, extensions = folder_paths.folder_names_and_paths[kind]
        place = str(published(name).parent)
        monkeypatch.setitem(folder_paths.folder_names_and_paths, kind, ([place, *places], extensions))


def photographs():
    path = SHARED / "data" / "photos" / "boxes.json"
    if not path.is_file():
        return []
    photos = json.loads(path.read_text(encoding="utf-8")).values()
    return [(photo["file"], phrase, box) for photo in photos for phrase, box in photo["boxes_xyxy"].items()]


def overlap(one, other):
    """Intersection over union of two boxes x0, y0, x1, y1."""
    width = max(min(one[2], other[2]) - max(one[0], other[0]), 0)
    height = max(min(one[3], other[3]) - max(one[1], other[1]), 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width * height / (areas - width * height)


@pytest.mark.skipif(not photographs(), reason="the photographs with boxes are not there")
@pytest.mark.parametrize(("file", "phrase", "expected"), photographs())
def test_published_weights_find_and_mask_what_is_named(host, linked, published_files, file, phrase, expected):
    image = torch.from_numpy(np.array(Image.open(SHARED / "data" / "photos" / file).convert("RGB"))).float()[None] / 255
    boxes, masks = find_and_mask(host, linked, image, phrase, box_threshold=0.25, select="all")
    # A wheel names both wheels, so one of the boxes is the expected one. The dog's may go on behind the cat.
    accepted = [expected, [0, *expected[1:]]] if (file, phrase) == ("cat_dog.jpg", "dog") else [expected]
    sides = [(box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]) for box in boxes]
    scores = [max(overlap(box, other) for other in accepted) for box in sides]
    assert max(scores, default=0) >= 0.8, sides
    rows, columns = masks[scores.index(max(scores))].nonzero(as_tuple=True)
    spanned = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert max(overlap(spanned, other) for other in accepted) >= 0.8
