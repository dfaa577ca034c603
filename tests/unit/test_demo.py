"""What demo and serve decide before they start a ComfyUI."""

import socket

import pytest

pytest.importorskip("aiohttp")  # comes with ComfyUI
import demo
import serve


def test_demo_offers_the_workflows_that_it_can_run_and_judge():
    offered = {name for name in demo.WORKFLOWS if demo.is_offered(demo.read(name))}
    assert {"object_transfer", "auto_transfer", "paper_recipe"} <= offered
    needing_files = {"text_to_object_transfer", "refine_with_pan", "seam_inpainting", "paint_by_example"}
    assert not needing_files & offered
    assert not {"moving_target", "several_objects"} & offered, "more than one frame, or more than one object"


def test_serve_notices_that_a_port_is_in_use():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert serve.answers(port)
    assert not serve.answers(port)


def test_serve_names_a_template_that_is_there():
    assert serve.TEMPLATE in demo.WORKFLOWS
