"""Makes the thumbnails of the templates, workflows/*.jpg, by running every workflow in a real headless ComfyUI.

`make_thumbnails.py` makes all of them, `make_thumbnails.py frame_cut_object` those that it names; `--into FOLDER` leaves
workflows/ as it is. Model files are looked for in ComfyUI's models folder, or in the one that `--models` names; a workflow
whose files are not there is left out with a word. A thumbnail shows the picture that the workflow saves last; those of
paint_by_example and seam_inpainting show, without their files, what goes into the model.
"""

import argparse
import json
import sys
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageChops, ImageFilter, ImageOps

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
    "DeepBlend_LoadPaintByExample": "model",
    "CheckpointLoaderSimple": "ckpt_name",
}
MODEL_FOLDERS = ("grounding-dino", "bert-base-uncased", "sams", "upscale_models", "checkpoints", "diffusers")
# Of workflows that show something without their file, the previews by title.
PAINTING = "paint_by_example"
WITHOUT_FILE = {PAINTING: ("Target", "Region", "Exemplar"), "seam_inpainting": ("What is repainted",)}
INSET, FRAME = 132, 4  # pixels, of the exemplar in the corner


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
                missing = missing_files(prompt, models)
                if missing and name not in WITHOUT_FILE:
                    print(f"{name}: left out, {', '.join(missing)} is not there", flush=True)
                    continue
                to_show = nodes_to_show(prompt, *WITHOUT_FILE[name]) if missing else [last_saved(prompt)]
                if missing:
                    prompt = leading_to(prompt, *to_show)
                run = server.run(prompt)
                if run.outcome != "execution_success":
                    print(f"{name}: {run.outcome}: {json.dumps(run.detail)[:1000]}", flush=True)
                    failed.append(name)
                    continue
                path = options.into / f"{name}.jpg"
                pictures = [shown(server, run, node) for node in to_show]
                picture = before_painting(*pictures) if missing and name == PAINTING else thumbnail(pictures[-1])
                picture.save(path, quality=QUALITY)
                note = f", without {', '.join(missing)}" if missing else ""
                print(f"{name}: {path}, {run.seconds:.1f} s{note}", flush=True)
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


def last_saved(prompt: dict) -> str:
    """The last Save Image of a workflow."""
    return [number for number, entry in prompt.items() if entry["class_type"] == "SaveImage"][-1]


def shown(server, run, node: str) -> Image.Image:
    """What a node that saves or previews pictures has shown, of a batch the last frame."""
    return Image.open(BytesIO(server.get("/view", **run.outputs[node]["images"][-1]))).convert("RGB")


def nodes_to_show(prompt: dict, *titles: str) -> list[str]:
    """The last node of each title: a preview stands behind what it previews."""
    return [[node for node, entry in prompt.items() if entry["_meta"]["title"] == title][-1] for title in titles]


def leading_to(prompt: dict, *nodes: str) -> dict:
    """The part of a workflow that some of its nodes need."""
    needed = set(nodes)
    for node in nodes:
        links = [value[0] for value in prompt[node]["inputs"].values() if isinstance(value, list)]
        needed |= leading_to(prompt, *links).keys()
    return {node: entry for node, entry in prompt.items() if node in needed}


def before_painting(target: Image.Image, region: Image.Image, exemplar: Image.Image) -> Image.Image:
    """The target with the region in grey inside a white line, as the model gets it, and the exemplar in a corner."""
    region = region.convert("L")
    line = ImageChops.difference(region.filter(ImageFilter.MaxFilter(5)), region)
    picture = target.convert("RGB")
    picture.paste((128, 128, 128), mask=region)
    picture.paste((255, 255, 255), mask=line)
    picture = thumbnail(picture)
    inset = ImageOps.expand(ImageOps.contain(exemplar, (INSET, INSET)), FRAME, (255, 255, 255))
    picture.paste(inset, (SIZE[0] - inset.width - 2 * FRAME, 2 * FRAME))
    return picture


def thumbnail(picture: Image.Image) -> Image.Image:
    """The middle of a picture, in the shape of a thumbnail."""
    return ImageOps.fit(picture, SIZE, Image.Resampling.LANCZOS)


if __name__ == "__main__":
    sys.exit(main())
