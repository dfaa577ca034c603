"""Types of DeepBlend's own sockets: what is passed from node to node besides pictures, masks and boxes."""

from comfy_api.latest import io

# Losses of an optimisation, one entry per frame: {"name": str, "terms": {"total": [float, ...], "style": [...], ...}}, a
# value for every evaluation, weighted, so that the terms add up to the total.
Losses = io.Custom("DEEPBLEND_LOSSES")
