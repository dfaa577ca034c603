"""What all tests share: the pack as the package `deepblend`, and a ComfyUI to run in."""

import os
from pathlib import Path

import pytest
import torch

import deepblend_package  # noqa: F401
from comfyui_host import HostNotFoundError, find_comfyui

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
