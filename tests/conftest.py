"""What all tests share: the pack as the package `deepblend`, a ComfyUI to run in, and the developers' pictures."""

import os
import sys
import types
from pathlib import Path

import pytest

from comfyui_host import HostNotFoundError, find_comfyui

CHECKOUT = Path(__file__).resolve().parent.parent

# ComfyUI imports the pack as a package of its own, with relative imports only. The layers below the nodes are imported
# here in the same way, without running the registration in __init__.py, which needs ComfyUI.
package = types.ModuleType("deepblend")
package.__path__ = [str(CHECKOUT)]
sys.modules["deepblend"] = package


@pytest.fixture(scope="session")
def comfyui() -> Path:
    try:
        return find_comfyui()
    except HostNotFoundError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of the developers' pictures and weights, which are no part of the project."""
    folder = Path(os.environ.get("DEEPBLEND_SHARED", CHECKOUT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("the developers' pictures are neither in $DEEPBLEND_SHARED nor in ../shared")
    return folder
