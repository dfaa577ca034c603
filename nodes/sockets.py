"""Socket types that this pack adds to ComfyUI's. Their names are a contract with saved workflows."""

from comfy_api.latest import io

# A feature model: {"patcher": ComfyUI's ModelPatcher of it, "config": {"name": ...}}.
Features = io.Custom("DEEPBLEND_FEATURES")
# Settings of the saturation loss; None when it is disabled.
Saturation = io.Custom("DEEPBLEND_SATURATION")
# One entry per frame: {"name": str, "terms": {"total": [one value per evaluation], "gradient": [...], ...}}, values weighted.
Losses = io.Custom("DEEPBLEND_LOSSES")
