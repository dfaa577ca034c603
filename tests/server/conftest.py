import pytest


@pytest.fixture(scope="session")
def server(comfyui, tmp_path_factory):
    """A real ComfyUI server with the pack and two photographs in its input folder."""
    import skimage.data
    from PIL import Image

    from comfyui_server import Server, make_base

    base = tmp_path_factory.mktemp("comfyui")
    make_base(base)
    for name in ("astronaut", "coffee"):
        Image.fromarray(getattr(skimage.data, name)()).save(base / "input" / f"{name}.png")
    with Server(comfyui, base) as running:
        yield running
