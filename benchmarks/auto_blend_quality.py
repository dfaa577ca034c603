"""How close Auto Blend comes to the truth, beside its peers, on pictures whose truth is known.

    python benchmarks/auto_blend_quality.py [--sheets FOLDER]

Prints, for each family of ground_truth.py, the mean PSNR in dB of pasting, cv2.seamlessClone, exact Poisson blending and Auto
Blend in each region, and how often each mode was chosen. With --sheets it writes one row of pictures per sample: source
with the mask's edge, paste, seamlessClone, exact Poisson, Auto Blend, truth.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from blending_core.auto_blend import Settings, plan_seating, seat
from blending_core.differences import forward_differences
from blending_core.poisson_blend import poisson_blend
from ground_truth import FAMILIES, Sample, paste, psnr, regions, seamless_clone


def tensor(image):
    image = torch.from_numpy(np.ascontiguousarray(image, np.float32))
    return image.movedim(-1, 0)[None] if image.dim() == 3 else image[None, None]


def array(image):
    return image[0].movedim(0, -1).double().numpy()


def exact_poisson(sample: Sample):
    source, mask, target = tensor(sample.source), tensor(sample.mask) > 0, tensor(sample.target)
    return array(poisson_blend(source, mask, target, forward_differences(source)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sheets", type=Path, help="folder for pictures")
    folder = parser.parse_args().sheets
    for family, make in FAMILIES.items():
        scores, modes, rows = {}, Counter(), []
        for sample in make():
            inputs = tensor(sample.source), tensor(sample.mask), tensor(sample.target)
            plan = plan_seating(*inputs)
            modes[plan.mode] += 1
            results = {
                "paste": paste(sample),
                "cv2.seamlessClone": seamless_clone(sample),
                "exact Poisson": exact_poisson(sample),
                "Auto Blend": array(seat(*inputs, plan, Settings())[0]),
            }
            for name, image in results.items():
                for region, where in regions(sample).items():
                    scores.setdefault(name, {}).setdefault(region, []).append(psnr(image, sample.truth, where))
            outlined = np.where(
                (sample.mask ^ ndimage.binary_erosion(sample.mask))[..., None], (1, 0, 1), sample.source
            )
            rows.append(np.hstack([outlined, *results.values(), sample.truth]))
        print(f"\n{family}: {sum(modes.values())} pictures, {dict(modes)}")
        for name, by_region in scores.items():
            print(
                f"  {name:18s}", "  ".join(f"{region} {np.mean(values):5.2f}" for region, values in by_region.items())
            )
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            sheet = (np.vstack(rows).clip(0, 1) * 255).round().astype(np.uint8)
            cv2.imwrite(str(folder / f"{family}.png"), sheet[..., ::-1])


if __name__ == "__main__":
    main()
