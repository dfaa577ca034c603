"""Writes what ComfyUI's editor reads in English, so that it never drifts from its source.

locales/en/nodeDefs.json comes from the schemas, as a running ComfyUI publishes them. web/docs/<node>.md, the help page
of every language that has none of its own, is web/docs/<node>/en.md again. Run it after a change to either; the tests
say when that was forgotten.
"""

import json
import shutil
import tempfile
from pathlib import Path

from comfyui_host import CHECKOUT, find_comfyui
from comfyui_server import PACK_FOLDER, Server, make_base

LOCALES = CHECKOUT / "locales"
HELP_PAGES = CHECKOUT / "web" / "docs"


def main() -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        make_base(Path(folder))
        with Server(find_comfyui(), Path(folder)) as server:
            texts = english_texts(server.get("/object_info"))
    path = LOCALES / "en" / "nodeDefs.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(texts, ensure_ascii=False, indent=2) + "\n", encoding="utf-8", newline="\n")
    for node in texts:
        shutil.copyfile(HELP_PAGES / node / "en.md", HELP_PAGES / f"{node}.md")
    print(f"wrote {path.relative_to(CHECKOUT)} and the help pages of {len(texts)} nodes")


def english_texts(object_info: dict[str, dict]) -> dict[str, dict]:
    """Texts of this pack's nodes in the form of nodeDefs.json, in which outputs go by their place."""
    return {
        node: {
            "display_name": info["display_name"],
            "description": info["description"],
            "inputs": {
                name: _text(name, info["input"][kind][name][1]["tooltip"])
                for kind in ("required", "optional")  # hidden ones are nobody's to see
                for name in info["input_order"].get(kind, [])
            },
            "outputs": {
                str(place): _text(name, tooltip)
                for place, (name, tooltip) in enumerate(zip(info["output_name"], info["output_tooltips"], strict=True))
            },
        }
        for node, info in sorted(object_info.items())
        if info["python_module"] == f"custom_nodes.{PACK_FOLDER}"
    }


def _text(name: str, tooltip: str | None) -> dict[str, str]:
    return {"name": name, "tooltip": tooltip} if tooltip else {"name": name}


if __name__ == "__main__":
    main()
