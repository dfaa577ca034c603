import pytest


@pytest.fixture(scope="session")
def server(comfyui, tmp_path_factory):
    """A real ComfyUI server with the pack and the workflows' pictures in its input folder."""
    from comfyui_server import Server, make_base, write_photographs

    base = tmp_path_factory.mktemp("comfyui")
    make_base(base)
    write_photographs(base / "input")
    with Server(comfyui, base) as running:
        yield running
