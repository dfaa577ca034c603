"""Finding the object: boxes, masks and their clean-up. No ComfyUI in here."""
