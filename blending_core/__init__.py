"""Blending mathematics on torch tensors, importable without ComfyUI.

Pictures are `[B, C, H, W]` in 0..1 (sRGB values), masks `[B, 1, H, W]` in 0..1 with 1 = object. Every function
keeps the dtype and device of its inputs and never writes into them.
"""
