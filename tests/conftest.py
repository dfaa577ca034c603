"""What all tests share: the pack as the package `deepblend`, and a ComfyUI to run in."""

import os
import sys
import types
from pathlib import Path

import pytest
import torch

from comfyui_host import HostNotFoundError, find_comfyui

CHECKOUT = Path(__file__).resolve().parent.parent

# ComfyUI imports the pack as a package of its own, with relative imports only. The layers below the nodes are imported
# here in the same way, without running the registration in __init__.py, which needs ComfyUI.
package = types.ModuleType("deepblend")
package.__path__ = [str(CHECKOUT)]
sys.modules["deepblend"] = package


# Most pictures in tests are small: threads would wait for each other longer than they work.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def comfyui() -> Path:
    try:
        return find_comfyui()
    except HostNotFoundError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
