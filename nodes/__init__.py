"""The nodes that ComfyUI sees."""

from comfy_api.latest import ComfyExtension, io

from .blend import AutoBlend, PoissonBlend
from .evaluate import CompareImages, PlotLosses
from .mask import MaskMorphology
from .place import PlaceObject
from .segment import GrabCutMask


class DeepBlendExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            GrabCutMask,
            MaskMorphology,
            PlaceObject,
            AutoBlend,
            PoissonBlend,
            CompareImages,
            PlotLosses,
        ]


async def comfy_entrypoint() -> DeepBlendExtension:
    return DeepBlendExtension()
