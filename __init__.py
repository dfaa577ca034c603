"""ComfyUI-DeepBlend: take an object out of one picture and set it into another."""

from .nodes import comfy_entrypoint

__all__ = ["comfy_entrypoint"]
