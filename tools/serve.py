"""Starts ComfyUI with this pack on http://127.0.0.1:8188 and leaves it running until Ctrl+C."""

import contextlib

from comfyui_host import CACHE, find_comfyui
from comfyui_server import Server, make_base, write_photographs

PORT = 8188


def main() -> None:
    comfyui = find_comfyui()
    base = CACHE / "serve"
    make_base(base)
    write_photographs(base / "input")
    print("starting ComfyUI ...", flush=True)
    with Server(comfyui, base, PORT, with_frontend=True) as server, contextlib.suppress(KeyboardInterrupt):
        print(
            f"{server.url} is ready; open Templates > ComfyUI-DeepBlend > object_transfer. Ctrl+C stops it.",
            flush=True,
        )
        server.process.wait()


if __name__ == "__main__":
    main()
