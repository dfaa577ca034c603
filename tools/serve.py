"""Starts ComfyUI with this pack and leaves it running until Ctrl+C: on http://127.0.0.1:8188, or another port if something
answers there already.
"""

import contextlib
import socket

from comfyui_host import CACHE, find_comfyui
from comfyui_server import PACK_FOLDER, Server, make_base, write_photographs

PORT = 8188  # ComfyUI's own
TEMPLATE = "object_transfer"


def main() -> None:
    comfyui = find_comfyui()
    base = CACHE / "serve"
    make_base(base)
    write_photographs(base / "input")
    port = None if answers(PORT) else PORT
    print("starting ComfyUI ...", flush=True)
    with contextlib.suppress(KeyboardInterrupt), Server(comfyui, base, port, with_frontend=True) as server:
        print(
            f"{server.url}/?template={TEMPLATE}&source={PACK_FOLDER} opens {TEMPLATE}, ready to run.\n"
            f"The others are in Templates, under Extensions. What they save goes into {base / 'output'}. Ctrl+C stops it.",
            flush=True,
        )
        server.process.wait()


def answers(port: int) -> bool:
    """Whether some program listens at a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    main()
