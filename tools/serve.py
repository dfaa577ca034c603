"""Starts ComfyUI with this pack on http://127.0.0.1:8188 and leaves it running until Ctrl+C."""

import contextlib

import skimage.data
from PIL import Image

from comfyui_host import CACHE, find_comfyui
from comfyui_server import Server, make_base

PORT = 8188


def main() -> None:
    comfyui = find_comfyui()
    base = CACHE / "serve"
    make_base(base)
    for name in ("astronaut", "coffee"):
        Image.fromarray(getattr(skimage.data, name)()).save(base / "input" / f"{name}.png")
    print("starting ComfyUI ...", flush=True)
    with Server(comfyui, base, PORT, with_frontend=True) as server, contextlib.suppress(KeyboardInterrupt):
        print(
            f"{server.url} is ready; open Templates > ComfyUI-DeepBlend > poisson_transfer. Ctrl+C stops it.",
            flush=True,
        )
        server.process.wait()


if __name__ == "__main__":
    main()
