"""Files of the editor, and what it would queue for them."""

import json


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def widget_names(node_class):
    """Widgets of a node in the order in which the editor stores their values."""
    inputs = node_class.INPUT_TYPES()
    specs = {**inputs.get("required", {}), **inputs.get("optional", {})}
    for name, spec in specs.items():
        options = spec[1] if len(spec) > 1 else {}
        if (isinstance(spec[0], list) or spec[0] in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")) and not options.get(
            "forceInput"
        ):
            yield name
            if options.get("image_upload") or options.get("control_after_generate"):
                yield None  # the upload button, or what happens to a seed after a run, takes a place


def to_api(workflow, classes):
    """What the editor would queue for a workflow: node id -> class and inputs."""
    origin = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    prompt = {}
    for node in workflow["nodes"]:
        if node["type"] == "MarkdownNote":
            continue
        values = zip(widget_names(classes[node["type"]]), node["widgets_values"], strict=True)
        inputs = {name: value for name, value in values if name}
        inputs |= {entry["name"]: origin[entry["link"]] for entry in node["inputs"] if entry["link"]}
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return prompt
