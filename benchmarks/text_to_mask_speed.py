"""How long the way from a phrase to a mask takes, part by part, with the networks' published sizes and random weights.

    python benchmarks/text_to_mask_speed.py [--size WIDTHxHEIGHT] [--threads N] [--device cuda]

Text to Box: what is done before and after the network, and GroundingDINO Swin-T in both libraries. SAM Mask: ViT-B's
encoder and the decoding of one box and of 16, with the original library's own predictor as the peer, and soft masks of
full size. On a GPU the encoder is also timed in bfloat16. Needs the tests' environment.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from segment_anything import SamPredictor, sam_model_registry

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import deepblend_package  # noqa: F401
from deepblend.segmentation import text_boxes
from deepblend.segmentation.grounding_dino import PACKAGE, TRANSFORMERS, detector_from_weights
from deepblend.segmentation.phrases import Phrase
from deepblend.segmentation.sam import full_size, mask_of_logits
from deepblend.segmentation.sam_original import segmenter_from_weights
from grounding_dino_networks import SWIN_T, tiny_weights

REPEATS = 3
PHRASES, POSITIONS = [Phrase("a red car", 0.3), Phrase("bird", 0.3)], [[1, 2, 3], [5]]
TOKENS = [[101, 1037, 2417, 2482, 1012, 4743, 1012, 102]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", default="1024x768", help="of the picture")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    width, height = map(int, options.size.split("x"))
    picture = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)).to(options.device)
    print(f"{width}×{height} on {options.device}, {options.threads} threads, torch {torch.__version__}")
    time_text_to_box(picture)
    time_sam_mask(picture)


def time_text_to_box(picture):
    size = text_boxes.input_size(*picture.shape[-2:])
    print(f"\nText to Box, GroundingDINO Swin-T at {size[1]}×{size[0]}")
    weights = tiny_weights(architecture=SWIN_T)
    tokens = torch.tensor(TOKENS, device=picture.device)
    pixels = text_boxes.detector_pixels(picture)
    best = {"before": best_of(lambda: text_boxes.detector_pixels(picture))}
    for backend in (TRANSFORMERS, PACKAGE):
        detector = detector_from_weights(weights, backend).to(picture.device)
        logits, boxes = detector(pixels, tokens)
        best[backend] = best_of(lambda detector=detector: detector(pixels, tokens))
    best["after"] = best_of(
        lambda: text_boxes.boxes_above_thresholds(
            text_boxes.phrase_scores(logits[0], POSITIONS), boxes[0], PHRASES, *picture.shape[:1:-1]
        )
    )
    show(best)
    print(f"  {TRANSFORMERS} takes {best[TRANSFORMERS] / best[PACKAGE]:.2f} of {PACKAGE}'s time")


def time_sam_mask(picture):
    print("\nSAM Mask, ViT-B")
    network = sam_model_registry["vit_b"]().to(picture.device).eval()
    segmenter = segmenter_from_weights(network.state_dict()).to(picture.device)
    predictor = SamPredictor(network)
    array = picture[0].movedim(0, -1).mul(255).byte().cpu().numpy()
    best = {
        "SamPredictor, encode": best_of(lambda: predictor.set_image(array)),
        "encode": best_of(lambda: segmenter.encode(picture[0])),
    }
    embedding = segmenter.encode(picture[0])
    height, width = picture.shape[-2:]
    for count in (1, 16):
        steps = torch.linspace(0.2, 0.5, count)[:, None]
        corners = torch.tensor([[width, height, 1.8 * width, 1.8 * height]]).mul(steps).to(picture.device)
        best[f"SamPredictor, decode {count}, masks of 0 and 1"] = best_of(
            lambda corners=corners: predictor.predict_torch(None, None, corners, multimask_output=False)
        )
        best[f"decode {count}"] = best_of(
            lambda corners=corners: segmenter.decode(embedding, corners, None, None, False)
        )
    logits = segmenter.decode(embedding, corners[:1], None, None, False)[0][0, 0]
    best["one soft mask of full size"] = best_of(
        lambda: mask_of_logits(full_size(logits, embedding, segmenter.side), soft_edges=True)
    )
    if picture.is_cuda:
        segmenter.encoder.to(torch.bfloat16)
        best["encode in bfloat16"] = best_of(lambda: segmenter.encode(picture[0]))
    show(best)
    print(f"  encode takes {best['encode'] / best['SamPredictor, encode']:.2f} of SamPredictor's time")


def best_of(run):
    """Seconds of the quickest of a few runs."""
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return float(np.min(times))


def show(best):
    for name, seconds in best.items():
        print(f"  {name:40s} {seconds:8.3f} s")


if __name__ == "__main__":
    main()
