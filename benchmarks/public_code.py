"""The public code of Deep Image Blending (owenzlz/DeepImageBlending), as it is, up to its first evaluation.

Nothing of it is part of this project: it is read from a checkout that the environment variable DIB_REF names.
"""

import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch
import torchvision
from torch import nn

from transfer_sets import TRANSFER

CHECKOUT = os.environ.get("DIB_REF")
LAYERS = 23  # of VGG-16, that its code takes


class FirstStepError(Exception):
    """The optimiser was asked for its first step: everything is set up."""


class Kept(torch.optim.LBFGS):
    """Keeps the function that is to be minimised, and stops."""

    def step(self, closure):
        self.closure = closure
        raise FirstStepError


def first_stage(name, size, network, device):
    """A function without arguments that makes one evaluation of the first stage and its gradient.

    name: dib_1, dib_3 or dib_5. size: of the target's side, in pixels. network: `nn.Sequential` in place of torchvision's
    VGG-16, on the device; a shorter one is taken as far as it goes. device: such as "cpu".
    """
    run = json.loads((TRANSFER / name / "meta.json").read_text())["dib_run_args"]
    factor, number = size / run["ts"], name.removeprefix("dib_")
    arguments = {
        f"{part}_file": str(Path(CHECKOUT, "data", f"{number}_{part}.png")) for part in ("source", "mask", "target")
    }
    arguments |= {"ss": round(run["ss"] * factor), "ts": size}
    arguments |= {"x": round(run["x_row_center"] * factor), "y": round(run["y_col_center"] * factor)}
    layers = nn.Sequential(*network, *(nn.Identity() for _ in range(LAYERS - len(network))))
    code = Path(CHECKOUT, "run.py").read_text().replace("gpu_id = opt.gpu_id", f"gpu_id = '{device}'")
    variables = {"__name__": "__main__"}
    with tempfile.TemporaryDirectory() as folder:
        arguments["output_dir"] = folder
        command = ["run.py", *(f"--{key}={value}" for key, value in arguments.items())]
        with (
            mock.patch.object(sys, "argv", command),
            mock.patch.object(sys, "path", [CHECKOUT, *sys.path]),
            mock.patch.object(torch.optim, "LBFGS", Kept),
            mock.patch.object(torchvision.models, "vgg16", lambda **_: SimpleNamespace(features=layers)),
            contextlib.suppress(FirstStepError),
        ):
            exec(compile(code, "run.py", "exec"), variables)  # noqa: S102, it is what DIB_REF asks for

    def evaluation():
        with contextlib.redirect_stdout(io.StringIO()):
            variables["optimizer"].closure()

    return evaluation
