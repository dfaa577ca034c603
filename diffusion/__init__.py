"""What this pack adds to ComfyUI's diffusion models; no ComfyUI."""
