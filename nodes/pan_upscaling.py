"""Makes PAN known to spandrel, with which ComfyUI's Load Upscale Model reads its files. Importing this needs spandrel."""

from spandrel import Architecture, ArchRegistry, ArchSupport, ImageModelDescriptor, StateDict

from ..blending_core.pan import PAN, is_pan


class PANArchitecture(Architecture[PAN]):
    def __init__(self):
        # Not "PAN": a pack that registers its own under that name after us would fail.
        super().__init__(id="DeepBlend_PAN", name="PAN", detect=is_pan)

    def load(self, state_dict: StateDict) -> ImageModelDescriptor[PAN]:
        network = PAN(state_dict)
        return ImageModelDescriptor(
            network,
            state_dict,
            architecture=self,
            purpose="SR",
            tags=[f"{network.channels}nf", f"{network.finer_channels}unf", f"{network.blocks}nb"],
            supports_half=True,
            supports_bfloat16=True,
            scale=network.scale,
            input_channels=3,
            output_channels=3,
        )


def register_pan(registry: ArchRegistry) -> None:
    """Add PAN to the architectures that a registry tells apart, once.

    It comes last: a PAN that is there already, in spandrel itself or from another pack, goes on reading its files.
    """
    registry.add(ArchSupport.from_architecture(PANArchitecture()), ignore_duplicates=True)
