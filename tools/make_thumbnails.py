"""Makes the thumbnails of the templates, workflows/*.jpg, by running every workflow in a real headless ComfyUI.

`make_thumbnails.py` makes all of them, `make_thumbnails.py frame_cut_object` those that it names; `--into FOLDER` leaves
workflows/ as it is. Model files are looked for in ComfyUI's models folder, or in the one that `--models` names; a workflow
whose files are not there is left out with a word. A thumbnail shows the picture that the workflow saves last. Where only the
checkpoint of a diffusion model is missing it shows the last preview of what goes before the model.
"""

import argparse
import json
import sys
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps

from comfyui_host import CHECKOUT, find_comfyui
from comfyui_server import Server, make_base, write_photographs

FOLDER = CHECKOUT / "workflows"
WORKFLOWS = {path.stem: path for path in sorted((FOLDER / "api").glob("*.json"))}
SIZE = (600, 400)  # pixels, the shape of the cards in the templates' dialog
QUALITY = 88
# Loaders whose file must be there, by their input; Load Perceptual Model has a model built in.
LOADERS = {
    "DeepBlend_LoadGroundingDINO": "model",
    "DeepBlend_LoadSAM": "model",
    "UpscaleModelLoader": "model_name",
    "CheckpointLoaderSimple": "ckpt_name",
}
MODEL_FOLDERS = ("grounding-dino", "bert-base-uncased", "sams", "upscale_models", "checkpoints")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make_thumbnails", description=__doc__.splitlines()[0])
    parser.add_argument("workflows", nargs="*", metavar="workflow", help="names, all by default")
    parser.add_argument(
        "--into", type=Path, default=FOLDER, metavar="FOLDER", help="where to write, workflows/ by default"
    )
    parser.add_argument("--models", type=Path, metavar="FOLDER", help="a models folder of ComfyUI with the files")
    options = parser.parse_args()
    names = options.workflows or list(WORKFLOWS)
    if unknown := sorted(set(names) - set(WORKFLOWS)):
        parser.error(f"no workflow {', '.join(unknown)}; there are {', '.join(WORKFLOWS)}")
    comfyui = find_comfyui()
    models = options.models or comfyui / "models"
    failed = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        base = Path(folder)
        make_base(base)
        write_photographs(base / "input")
        options.into.mkdir(parents=True, exist_ok=True)
        print("starting ComfyUI ...", flush=True)
        server = Server(comfyui, base)
        server.command += ["--extra-model-paths-config", str(paths_file(models, base))]
        with server:
            for name in names:
                prompt = json.loads(WORKFLOWS[name].read_text(encoding="utf-8"))
                if missing_files(prompt, models):
                    prompt = before_diffusion(prompt)
                if missing := missing_files(prompt, models):
                    print(f"{name}: left out, {', '.join(missing)} is not there", flush=True)
                    continue
                run = server.run(prompt)
                if run.outcome != "execution_success":
                    print(f"{name}: {run.outcome}: {json.dumps(run.detail)[:1000]}", flush=True)
                    failed.append(name)
                    continue
                path = options.into / f"{name}.jpg"
                thumbnail(saved_picture(server, prompt, run)).save(path, quality=QUALITY)
                print(f"{name}: {path}, {run.seconds:.1f} s", flush=True)
    return 1 if failed else 0


def paths_file(models: Path, base: Path) -> Path:
    """A file that makes ComfyUI look into a models folder; JSON is YAML too."""
    path = base / "extra_model_paths.yaml"
    folders = {name: name for name in MODEL_FOLDERS}
    path.write_text(json.dumps({"thumbnails": {"base_path": str(models.resolve()), **folders}}), encoding="utf-8")
    return path


def missing_files(prompt: dict, models: Path) -> list[str]:
    """Model files that a workflow names and a models folder does not have."""
    named = (entry["inputs"][LOADERS[kind]] for entry in prompt.values() if (kind := entry["class_type"]) in LOADERS)
    have = {path.name for folder in MODEL_FOLDERS for path in (models / folder).rglob("*")}
    return [name for name in named if name not in have]


def before_diffusion(prompt: dict) -> dict:
    """The nodes of a workflow that need nothing of a diffusion model."""
    after = {number for number, entry in prompt.items() if entry["class_type"] == "CheckpointLoaderSimple"}
    while found := {
        number
        for number, entry in prompt.items()
        if number not in after
        and any(isinstance(value, list) and value[0] in after for value in entry["inputs"].values())
    }:
        after |= found
    return {number: entry for number, entry in prompt.items() if number not in after}


def saved_picture(server, prompt: dict, run) -> Image.Image:
    """What the last Save Image of a workflow wrote, or its last Preview Image if it has none; of a batch the last frame."""
    kinds = [entry["class_type"] for entry in prompt.values()]
    shown = "SaveImage" if "SaveImage" in kinds else "PreviewImage"
    node = [number for number, entry in prompt.items() if entry["class_type"] == shown][-1]
    picture = Image.open(BytesIO(server.get("/view", **run.outputs[node]["images"][-1])))
    return picture.convert("RGB")


def thumbnail(picture: Image.Image) -> Image.Image:
    """The middle of a picture, in the shape of a thumbnail."""
    return ImageOps.fit(picture, SIZE, Image.Resampling.LANCZOS)


if __name__ == "__main__":
    sys.exit(main())
