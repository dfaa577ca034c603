"""Socket types that this pack adds to ComfyUI's. Their names are a contract with saved workflows."""

from comfy_api.latest import io

# A text detector: {"patcher": ComfyUI's ModelPatcher of it, "config": {"name": ..., "vocabulary": Vocabulary}}.
GroundingDINO = io.Custom("DEEPBLEND_GROUNDING_DINO")
# A Segment Anything network: {"patcher": ..., "config": {"name": ...}, "embeddings": those of the pictures last seen}.
SAM = io.Custom("DEEPBLEND_SAM")
# A feature model: {"patcher": ComfyUI's ModelPatcher of it, "config": {"name": ...}}.
Features = io.Custom("DEEPBLEND_FEATURES")
# Settings of the saturation loss; None when it is disabled.
Saturation = io.Custom("DEEPBLEND_SATURATION")
# One entry per frame: {"name": str, "terms": {"total": [one value per evaluation], "gradient": [...], ...}}, values weighted.
Losses = io.Custom("DEEPBLEND_LOSSES")
# What turns an exemplar into conditioning: {"clip_vision": ComfyUI's CLIP vision with a mapper at its end, "unconditional":
# the token [1, 1, width] for no exemplar, "config": {"name": ...}}.
Exemplar = io.Custom("DEEPBLEND_EXEMPLAR")
