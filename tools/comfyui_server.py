"""A real ComfyUI server on loopback with this pack in it, and a client for its API."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import skimage.data
import torch
from PIL import Image

from comfyui_host import CHECKOUT

PACK_FOLDER = "ComfyUI-DeepBlend"
# Pictures in scikit-image's own package that the workflows of this pack load.
PHOTOGRAPHS = ("astronaut", "coffee", "immunohistochemistry", "rocket")
BASE_FOLDERS = ("custom_nodes", "input", "output", "temp", "models", "user")
START_TIMEOUT = 300  # seconds; loading ComfyUI on a busy machine takes half a minute

PREVIEW_WITH_METADATA = 4  # kind of binary websocket message; previews of the other kind hold the picture at once


def make_base(base: Path) -> Path:
    """ComfyUI base directory with a copy of this pack, as an installation would have it."""
    for name in BASE_FOLDERS:
        (base / name).mkdir(parents=True, exist_ok=True)
    pack = base / "custom_nodes" / PACK_FOLDER
    shutil.rmtree(pack, ignore_errors=True)
    shutil.copytree(CHECKOUT, pack, ignore=shutil.ignore_patterns(".*", "__pycache__", "output"))
    return pack


def write_photographs(folder: Path) -> None:
    """The pictures that the workflows load, as PNG files."""
    for name in PHOTOGRAPHS:
        Image.fromarray(getattr(skimage.data, name)()).save(folder / f"{name}.png")


class Server:
    """ComfyUI in a process of its own; a context manager that stops it at the end."""

    def __init__(self, comfyui: Path, base: Path, port: int | None = None, with_frontend: bool = False):
        self.port = port or _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = base / "server.log"
        options = ["--listen", "127.0.0.1", "--port", str(self.port), "--base-directory", str(base)]
        options += ["--database-url", "sqlite:///:memory:", "--disable-api-nodes"]
        if not torch.cuda.is_available():
            options.append("--cpu")
        if not with_frontend:
            page = base / "no_frontend"
            page.mkdir(exist_ok=True)
            (page / "index.html").write_text("headless")
            options += ["--front-end-root", str(page)]
        self.command = [sys.executable, "main.py", *options]
        self.comfyui = comfyui

    def __enter__(self):
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.comfyui, stdout=log, stderr=subprocess.STDOUT, env=environment
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _wait_until_ready(self):
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"ComfyUI stopped while starting:\n{self.log_text()[-3000:]}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.1)
        raise RuntimeError(f"ComfyUI did not answer within {START_TIMEOUT} s:\n{self.log_text()[-3000:]}")

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def get(self, path: str, **query):
        """JSON, or bytes of anything else, that the server answers."""
        return asyncio.run(_get(self.url + path, query))

    def run(self, prompt: dict, on_event: Callable[[str, dict, str], object] | None = None) -> "Run":
        """Queue a prompt in API format and wait for its end."""
        return asyncio.run(_run(self.url, prompt, on_event))


@dataclass
class Run:
    """What one queued prompt came to."""

    outcome: str  # "execution_success", "execution_error", "execution_interrupted" or "refused"
    detail: dict  # data of the closing event, or the server's answer to a refused prompt
    seconds: float
    events: list[tuple[float, str, dict]] = field(default_factory=list)
    previews: list[bytes] = field(default_factory=list)  # encoded pictures
    outputs: dict[str, dict] = field(default_factory=dict)  # node id -> its "ui" output


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def _get(url: str, query: dict):
    async with aiohttp.ClientSession() as session, session.get(url, params=query) as response:
        response.raise_for_status()
        return await (response.json() if response.content_type == "application/json" else response.read())


async def _run(url, prompt, on_event) -> Run:
    client = uuid.uuid4().hex
    start = time.monotonic()
    run = Run("refused", {}, 0)
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}/ws?clientId={client}", max_msg_size=0) as socket_,
    ):
        await socket_.send_json({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
        async with session.post(f"{url}/prompt", json={"prompt": prompt, "client_id": client}) as response:
            answer = await response.json()
        if "prompt_id" not in answer:
            run.detail = answer
            return run
        async for message in socket_:
            if message.type == aiohttp.WSMsgType.BINARY:
                run.previews.append(_preview(message.data))
                continue
            event = json.loads(message.data)
            kind, data = event["type"], event.get("data") or {}
            if data.get("prompt_id") not in (None, answer["prompt_id"]):
                continue
            run.events.append((time.monotonic() - start, kind, data))
            if on_event and (waiting := on_event(kind, data, url)):
                await waiting
            if kind in ("execution_success", "execution_error", "execution_interrupted"):
                run.outcome, run.detail = kind, data
                break
        run.seconds = time.monotonic() - start
        run.outputs = await _outputs(session, url, answer["prompt_id"])
    return run


async def _outputs(session, url, prompt_id) -> dict:
    for _ in range(100):  # the history is written a moment after the closing event
        async with session.get(f"{url}/history/{prompt_id}") as response:
            history = await response.json()
        if prompt_id in history:
            return history[prompt_id]["outputs"]
        await asyncio.sleep(0.05)
    return {}


def _preview(data: bytes) -> bytes:
    kind, length = struct.unpack(">II", data[:8])
    return data[8 + length :] if kind == PREVIEW_WITH_METADATA else data[8:]
