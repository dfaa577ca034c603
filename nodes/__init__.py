"""The nodes that ComfyUI sees."""

import logging

from comfy_api.latest import ComfyExtension, io

from .blend import AutoBlend, MultibandBlend, PoissonBlend
from .crop import CropObject, StitchObject
from .deep import DeepBlendStage1, DeepBlendStage2, LoadPerceptualModel, SaturationLoss
from .detect import LoadGroundingDINO, TextToBox
from .evaluate import CompareImages, PlotLosses
from .gaussian_poisson import GaussianPoissonBlend
from .mask import MaskMorphology
from .paint_by_example import LoadPaintByExample, PaintByExample
from .place import PlaceObject
from .segment import GrabCutMask, LoadSAM, SAMMask

logger = logging.getLogger(__name__)


class DeepBlendExtension(ComfyExtension):
    async def on_load(self) -> None:
        # ComfyUI's own upscaling needs spandrel, but our nodes do not: whatever is wrong with it must not stop them.
        try:
            from spandrel import MAIN_REGISTRY
        except Exception as error:
            logger.info("DeepBlend: files of PAN cannot be loaded, since spandrel cannot be used (%s)", error)
            return
        try:
            from .pan_upscaling import register_pan

            register_pan(MAIN_REGISTRY)
        except Exception:
            logger.warning("DeepBlend: files of PAN cannot be loaded", exc_info=True)

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            LoadGroundingDINO,
            TextToBox,
            LoadSAM,
            SAMMask,
            GrabCutMask,
            MaskMorphology,
            PlaceObject,
            AutoBlend,
            PoissonBlend,
            GaussianPoissonBlend,
            MultibandBlend,
            LoadPerceptualModel,
            DeepBlendStage1,
            SaturationLoss,
            DeepBlendStage2,
            CropObject,
            StitchObject,
            CompareImages,
            PlotLosses,
            LoadPaintByExample,
            PaintByExample,
        ]


async def comfy_entrypoint() -> DeepBlendExtension:
    return DeepBlendExtension()
