"""How close PAN comes to the pictures that were reduced, beside the figures of its paper.

    python benchmarks/pan_quality.py

Prints a table: PSNR in dB on the Y channel, as the paper counts it, with the authors' weights. Pictures and weights are the
developers' (DEEPBLEND_SHARED). Set14 was not kept reduced 2 and 3 times: it is reduced here, as MATLAB does it.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from blending_core.pan import PAN
from oracles import resize_matrix
from transfer_sets import SHARED

PICTURES, MODELS = SHARED / "data" / "sr", SHARED / "models" / "pan"
PAPER = {("Set5", 2): 38.00, ("Set5", 3): 34.40, ("Set5", 4): 32.13}
PAPER |= {("Set14", 2): 33.59, ("Set14", 3): 30.36, ("Set14", 4): 28.61}
LUMA = np.array([65.481, 128.553, 24.966])  # ITU-R BT.601; Y of 0..1 RGB is 16..235


def main():
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    print("| scale | Set5 | paper | Set14 | paper |\n|---|---|---|---|---|")
    for scale in (2, 3, 4):
        network = published_network(scale)
        cells = []
        for name in ("Set5", "Set14"):
            cells += [f"{mean_psnr(network, name):.3f}", f"{PAPER[name, scale]:.2f}"]
        print(f"| x{scale} | {' | '.join(cells)} |", flush=True)


def published_network(scale: int) -> PAN:
    return PAN(torch.load(MODELS / f"PANx{scale}_DF2K.pth", map_location="cpu", weights_only=True))


def mean_psnr(network: PAN, name: str) -> float:
    """Of all pictures of a set."""
    return float(np.mean([restored_psnr(network, path) for path in sorted((PICTURES / name / "HR").glob("*.png"))]))


def restored_psnr(network: PAN, path: Path) -> float:
    """Of one picture, given by its file."""
    scale = network.scale
    truth = read(path)
    height, width = (length // scale * scale for length in truth.shape[:2])
    truth = truth[:height, :width]
    kept = path.parents[1] / "LR_bicubic" / f"X{scale}" / f"{path.stem}x{scale}.png"
    small = read(kept) if kept.exists() else reduced(truth, scale)
    with torch.inference_mode():
        result = network(torch.from_numpy(small).float().movedim(-1, 0)[None])
    result = rounded(result[0].movedim(0, -1).double().numpy())
    error = ((result - truth) @ LUMA)[scale:-scale, scale:-scale]
    return float(10 * np.log10(255**2 / np.mean(error**2)))


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")) / 255


def reduced(picture: np.ndarray, factor: int) -> np.ndarray:
    """Antialiased bicubic, the picture mirrored beyond its frame, in 8 bits."""
    margin = 4  # reduced pixels, more than the kernel reaches
    picture = np.pad(picture, 2 * [(margin * factor, margin * factor)] + [(0, 0)], "symmetric")
    rows, columns = (resize_matrix(length, length // factor)[margin:-margin] for length in picture.shape[:2])
    return rounded(np.einsum("yh,xw,hwc->yxc", rows, columns, picture, optimize=True))


def rounded(picture: np.ndarray) -> np.ndarray:
    return np.round(picture.clip(0, 1) * 255) / 255


if __name__ == "__main__":
    main()
