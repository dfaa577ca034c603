"""The nodes that ComfyUI sees."""

from comfy_api.latest import ComfyExtension, io

from .blend import AutoBlend, MultibandBlend, PoissonBlend
from .deep import DeepBlendStage1, DeepBlendStage2, LoadPerceptualModel, SaturationLoss
from .detect import LoadGroundingDINO, TextToBox
from .evaluate import CompareImages, PlotLosses
from .gaussian_poisson import GaussianPoissonBlend
from .mask import MaskMorphology
from .place import PlaceObject
from .segment import GrabCutMask, LoadSAM, SAMMask


class DeepBlendExtension(ComfyExtension):
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
            CompareImages,
            PlotLosses,
        ]


async def comfy_entrypoint() -> DeepBlendExtension:
    return DeepBlendExtension()
