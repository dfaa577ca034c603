"""Text to Box and its loader in the real executor: with a tiny network of random weights for what does not depend on what
is found, and with a stand-in that finds colours for what does."""

import logging
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

LOADER, NODE = "DeepBlend_LoadGroundingDINO", "DeepBlend_TextToBox"
SCENE = torch.full((1, 120, 200, 3), 0.5)
SCENE[:, 20:60, 10:60] = torch.tensor([0.8, 0.3, 0.2])  # red, the larger
SCENE[:, 30:50, 150:190] = torch.tensor([0.8, 0.3, 0.2])  # red
SCENE[:, 70:110, 80:120] = torch.tensor([0.2, 0.3, 0.8])  # blue
LARGE_RED, SMALL_RED, BLUE = (10, 20, 50, 40), (150, 30, 40, 20), (80, 70, 40, 40)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    from deepblend.segmentation.vocabulary import read_vocabulary
    from grounding_dino_networks import tiny_vocabulary

    return read_vocabulary(tiny_vocabulary(tmp_path_factory.mktemp("vocabulary")))


@pytest.fixture
def colors(host, linked, vocabulary):
    from stand_ins import ColorDetector, managed

    return linked({"patcher": managed(ColorDetector(vocabulary)), "config": {"name": "", "vocabulary": vocabulary}})


def corners(boxes):
    return [(box["x"], box["y"], box["width"], box["height"]) for box in boxes]


def near(boxes, *expected):
    """Within a pixel, since the detector looks at the picture in another size."""
    found = torch.tensor(corners(boxes), dtype=torch.float)
    return found.shape == (len(expected), 4) and (found - torch.tensor(expected)).abs().max() <= 1.5


def test_a_phrase_becomes_boxes_best_first_and_a_preview(host, colors):
    boxes, preview = host.run_node(NODE, model=colors, image=SCENE, prompt="the red car")
    (found,) = boxes
    assert near(found, LARGE_RED, SMALL_RED)
    assert all(set(box) == {"x", "y", "width", "height", "label", "score"} for box in found)
    assert all(isinstance(box[side], int) for box in found for side in ("x", "y", "width", "height"))
    assert {box["label"] for box in found} == {"the red car"}
    assert found[0]["score"] > found[1]["score"] > 0.3
    assert preview.shape == SCENE.shape
    changed = (preview - SCENE).abs().amax(-1)[0] > 0.1
    assert changed[59, 12:58].all(), "the lower edge of the first box is drawn"
    assert not changed[24:56, 16:54].any() and not changed[66:].any()


def test_every_box_carries_its_phrase(host, colors):
    (found,), _ = host.run_node(NODE, model=colors, image=SCENE, prompt="red . blue, green")
    assert near(found, LARGE_RED, BLUE, SMALL_RED)
    assert [box["label"] for box in found] == ["red", "blue", "red"]


def test_a_phrase_may_have_its_own_threshold(host, colors):
    scores = [box["score"] for box in host.run_node(NODE, model=colors, image=SCENE, prompt="red")[0][0]]
    between = sum(scores) / 2
    (found,), _ = host.run_node(NODE, model=colors, image=SCENE, prompt=f"red:{between:.4f} . blue")
    assert near(found, LARGE_RED, BLUE)
    (found,), _ = host.run_node(NODE, model=colors, image=SCENE, prompt="red . blue:1.0", box_threshold=between)
    assert near(found, LARGE_RED)


@pytest.mark.parametrize(
    ("select", "index", "expected"),
    [
        ("all", 0, [LARGE_RED, BLUE, SMALL_RED]),
        ("best", 0, [LARGE_RED]),
        ("largest", 0, [LARGE_RED]),
        ("left", 0, [LARGE_RED]),
        ("right", 0, [SMALL_RED]),
        ("index", 1, [BLUE]),
    ],
)
def test_selection(host, colors, select, index, expected):
    (found,), _ = host.run_node(NODE, model=colors, image=SCENE, prompt="red . blue", select=select, index=index)
    assert near(found, *expected)


def test_selection_also_rules_the_preview(host, colors):
    _, preview = host.run_node(NODE, model=colors, image=SCENE, prompt="red", select="right")
    changed = (preview - SCENE).abs().amax(-1)[0] > 0.1
    assert changed[49, 152:188].all() and not changed[59].any()


def test_an_index_that_no_box_has_warns(host, colors, caplog):
    with caplog.at_level(logging.WARNING):
        boxes, _ = host.run_node(NODE, model=colors, image=SCENE, prompt="blue", select="index", index=5)
    assert boxes == [[]]
    assert "frame 0 has 1 boxes, so none of the index 5" in caplog.text


def test_a_frame_without_a_hit_has_an_empty_list_and_the_log_says_how_close_it_came(host, colors, caplog):
    frames = torch.cat([SCENE, torch.full_like(SCENE, 0.5), SCENE.flip(2)])
    with caplog.at_level(logging.WARNING):
        boxes, preview = host.run_node(NODE, model=colors, image=frames, prompt="blue")
    assert near(boxes[0], BLUE) and boxes[1] == [] and near(boxes[2], BLUE)
    assert preview.shape == frames.shape and torch.equal(preview[1], frames[1].mul(255).round() / 255)
    assert "no box in frame 1; the best scores are 'blue' 0.00 (threshold 0.3)" in caplog.text


def test_rgba_pictures_count_by_their_colours(host, colors):
    rgba = torch.cat([SCENE, torch.zeros_like(SCENE[..., :1])], -1)
    boxes, preview = host.run_node(NODE, model=colors, image=rgba, prompt="blue")
    assert near(boxes[0], BLUE) and preview.shape == SCENE.shape


def test_half_precision_images(host, colors):
    boxes, _ = host.run_node(NODE, model=colors, image=SCENE.half(), prompt="blue")
    assert near(boxes[0], BLUE)


def test_a_longer_prompt_asks_for_more_memory(host, colors, monkeypatch):
    import comfy.model_management

    load, asked = comfy.model_management.load_models_gpu, []

    def observed(models, memory_required, **options):
        asked.append(memory_required)
        return load(models, memory_required=memory_required, **options)

    monkeypatch.setattr(comfy.model_management, "load_models_gpu", observed)
    for prompt in ("red", "red " * 200):
        host.run_node(NODE, model=colors, image=SCENE, prompt=prompt)
    assert asked[1] > asked[0] > 0


def test_boxes_are_drawn_on_their_edges_and_the_best_lies_on_top(host):
    import sys

    draw_boxes = sys.modules[host.nodes.NODE_CLASS_MAPPINGS[NODE].__module__].draw_boxes
    best = {"x": 20, "y": 40, "width": 30, "height": 30, "label": "a", "score": 0.9}
    other = {"x": 34, "y": 25, "width": 40, "height": 60, "label": "b", "score": 0.5}
    picture = torch.full((3, 100, 100), 0.5)

    def of_color(drawn, color):
        color = torch.tensor([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
        return ((drawn - color[:, None, None]).abs().amax(0) < 0.01)[40:]  # below its label

    blue, vermilion = "#0072B2", "#D55E00"
    drawn = of_color(draw_boxes(picture, [best, other], ["a", "b"]), blue)
    rows, columns = drawn.nonzero(as_tuple=True)
    assert (columns.min(), columns.max(), rows.max() + 40) == (20, 49, 69)
    assert drawn[29, 20:50].all() and drawn[:30, 20].all() and drawn[:30, 49].all()
    assert of_color(draw_boxes(picture, [best, other], ["a", "b"]), vermilion)[:, 34].sum() < 44


def test_objects_at_the_frame_stay_inside_it(host, colors):
    scene = torch.full((1, 100, 100, 3), 0.5)
    scene[:, :, 60:] = torch.tensor([0.2, 0.3, 0.8])
    (found,), _ = host.run_node(NODE, model=colors, image=scene, prompt="blue")
    assert near(found, (60, 0, 40, 100)) and found[0]["x"] + found[0]["width"] <= 100


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"prompt": "  "}, "prompt holds no phrase; name the object"),
        ({"prompt": "cat:2"}, "'cat:2' asks for a count, as SAM3 takes it"),
        ({"prompt": "car " * 300}, "prompt has 30[0-9] tokens; at most 256 are accepted"),
        ({"prompt": "red", "image": SCENE * float("nan")}, "image holds 72000 values that are NaN"),
    ],
)
def test_bad_input_gets_a_sentence(host, colors, inputs, sentence):
    with pytest.raises(RuntimeError, match=sentence):
        host.run_node(NODE, **{"model": colors, "image": SCENE, **inputs})


def test_linked_values_are_checked(host, colors, linked):
    with pytest.raises(RuntimeError, match=r"select is 'first'; 'all', 'best'"):
        host.run_node(NODE, model=colors, image=SCENE, prompt="red", select=linked("first"))
    with pytest.raises(RuntimeError, match=r"box_threshold is 1\.5; numbers from 0\.0 to 1\.0"):
        host.run_node(NODE, model=colors, image=SCENE, prompt="red", box_threshold=linked(1.5))


def test_the_network_is_moved_outside_of_inference_mode(host, colors, monkeypatch):
    """Or another node could not move it back outside of it; on a CPU nothing is moved and nothing would show."""
    import comfy.model_management

    load, modes = comfy.model_management.load_models_gpu, []

    def observed(*arguments, **options):
        modes.append(torch.is_inference_mode_enabled())
        return load(*arguments, **options)

    monkeypatch.setattr(comfy.model_management, "load_models_gpu", observed)
    host.run_node(NODE, model=colors, image=SCENE, prompt="red")
    assert modes == [False]


# The loader, with a tiny network of random weights, in the forms in which people have it.


@pytest.fixture(scope="module")
def folder(host):
    """ComfyUI's folder for GroundingDINO, with BERT's vocabulary in its own."""
    import folder_paths

    from grounding_dino_networks import tiny_vocabulary

    bert = Path(folder_paths.models_dir, "bert-base-uncased")
    bert.mkdir(parents=True)
    tiny_vocabulary(bert)
    place = Path(folder_paths.models_dir, "grounding-dino")
    place.mkdir(parents=True, exist_ok=True)
    yield place
    (bert / "vocab.txt").unlink()
    bert.rmdir()


@pytest.fixture(scope="module")
def forms(folder):
    from grounding_dino_networks import tiny_folder, tiny_weights

    weights = tiny_weights()
    torch.save({"model": weights}, folder / "tiny.pth")
    torch.save({"model": {f"module.{name}": value for name, value in weights.items()}}, folder / "parallel.pth")
    save_file({name: value.clone() for name, value in weights.items()}, folder / "tiny.safetensors")
    tiny_folder(folder / "tiny")
    return folder


@pytest.fixture(autouse=True)
def small_input(host, monkeypatch):
    """The detector looks at small pictures: the tests compare, and need no detail."""
    import sys

    pack = sys.modules[host.nodes.NODE_CLASS_MAPPINGS[NODE].__module__]
    monkeypatch.setattr(pack.text_boxes, "SHORTER_SIDE", 160)


PICTURE = torch.rand(1, 60, 90, 3, generator=torch.Generator().manual_seed(3))


def detect(host, linked, model, image=PICTURE, prompt="red car . bird", box_threshold=0.0, **inputs):
    handle = linked(host.run_node(LOADER, model=model, **inputs))
    return host.run_node(NODE, model=handle, image=image, prompt=prompt, box_threshold=box_threshold)


def test_all_forms_of_a_network_give_the_same_boxes(host, linked, forms):
    pytest.importorskip("groundingdino", reason="groundingdino-py is not installed")
    ((expected,), preview) = detect(host, linked, "tiny.pth", backend="groundingdino-py")
    assert len(expected) >= 3 and len({box["label"] for box in expected}) == 2, "the picture is no test otherwise"
    assert len(set(corners(expected))) == len(expected)
    for model in ("tiny.pth", "parallel.pth", "tiny.safetensors", "tiny"):
        ((found,), other) = detect(host, linked, model)
        assert corners(found) == corners(expected), model
        assert [box["label"] for box in found] == [box["label"] for box in expected]
        scores = ([box["score"] for box in boxes] for boxes in (found, expected))
        torch.testing.assert_close(*map(torch.tensor, scores), atol=1e-5, rtol=0)
        assert torch.equal(other, preview)


def test_a_batch_is_detected_frame_by_frame_and_every_run_alike(host, linked, forms):
    frames = torch.cat([PICTURE, PICTURE.flip(1)])
    boxes, _ = detect(host, linked, "tiny.pth", image=frames)
    assert boxes == [detect(host, linked, "tiny.pth", image=frame[None])[0][0] for frame in frames]
    assert boxes[0] != boxes[1]


def test_no_weight_is_an_inference_tensor(host, forms):
    for model, backend in (("tiny.pth", "transformers"), ("tiny.pth", "groundingdino-py"), ("tiny", "transformers")):
        network = host.run_node(LOADER, model=model, backend=backend)["patcher"].model
        assert not any(value.is_inference() for value in (*network.parameters(), *network.buffers()))


def test_memory_management_may_take_the_network_away_between_runs(host, linked, forms):
    import comfy.model_management

    handle = linked(host.run_node(LOADER, model="tiny.pth"))
    run = {"model": handle, "image": PICTURE, "prompt": "bird", "box_threshold": 0.0}
    before, _ = host.run_node(NODE, **run)
    assert handle.value["patcher"] in [entry.model for entry in comfy.model_management.current_loaded_models]
    comfy.model_management.unload_all_models()
    assert comfy.model_management.current_loaded_models == []
    assert host.run_node(NODE, **run)[0] == before


def test_the_list_names_files_folders_and_the_catalogue(host, forms):
    options = host.nodes.NODE_CLASS_MAPPINGS[LOADER].INPUT_TYPES()["required"]["model"][1]["options"]
    assert {"tiny.pth", "tiny", "tiny.safetensors", "groundingdino_swint_ogc.pth"} <= set(options)
    assert not [name for name in options if "config" in name or "model.safetensors" in name]


def test_what_is_not_there_and_may_not_be_fetched_gets_a_sentence(host, folder):
    with pytest.raises(RuntimeError, match=r"groundingdino_swint_ogc.pth.* is not in .*grounding-dino.*download"):
        host.run_node(LOADER, model="groundingdino_swint_ogc.pth")


def test_an_original_checkpoint_needs_the_vocabulary(host, forms):
    import folder_paths

    vocabulary = Path(folder_paths.models_dir, "bert-base-uncased", "vocab.txt")
    text = vocabulary.read_bytes()
    vocabulary.unlink()
    try:
        with pytest.raises(RuntimeError, match=r"'tiny\.pth' needs vocab\.txt, which is not in .*bert-base-uncased"):
            host.run_node(LOADER, model="tiny.pth")
        beside = forms / "vocab.txt"
        beside.write_bytes(text)
        host.run_node(LOADER, model="tiny.pth")
        beside.write_bytes(text.replace(b"\n.\n", b"\nfullstop\n"))
        with pytest.raises(RuntimeError, match=r"vocab\.txt is not BERT's uncased vocabulary: '\.' is absent"):
            host.run_node(LOADER, model="tiny.pth")
        beside.write_bytes(text + b"word\n")
        with pytest.raises(RuntimeError, match=r"it knows 1030 tokens, but .*vocab\.txt has 1031"):
            host.run_node(LOADER, model="tiny.pth")
    finally:
        vocabulary.write_bytes(text)
        (forms / "vocab.txt").unlink(missing_ok=True)


def test_the_second_backend_reads_no_folders(host, forms):
    with pytest.raises(RuntimeError, match="groundingdino-py reads original checkpoints only; choose transformers"):
        host.run_node(LOADER, model="tiny", backend="groundingdino-py")


def test_a_changed_file_is_read_again(host, folder, linked):
    from grounding_dino_networks import tiny_weights

    path = folder / "changing.safetensors"
    weights = {name: value.clone() for name, value in tiny_weights().items()}
    save_file(weights, path)

    def cached():
        loader = {"class_type": LOADER, "inputs": {"model": path.name, "backend": "auto"}}
        capture = {"class_type": "DeepBlendTest_Capture", "inputs": {"name": "model", "value": ["1", 0]}}
        run = host.run({"1": loader, "2": capture})
        assert run.success
        return run.cached

    assert cached() == []
    assert cached() == ["1", "2"]
    save_file({name: 2 * value for name, value in weights.items()}, path)
    assert cached() == []
    path.unlink()


# Files from strangers.


class Canary:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def zipped(path):
    """A truncated .pth."""
    torch.save({"model": {"weight": torch.zeros(4096)}}, path)
    path.write_bytes(path.read_bytes()[:-2000])


def lying(path):
    """A safetensors file whose header promises more than there is."""
    header = b'{"weight":{"dtype":"F32","shape":[1000000],"data_offsets":[0,4000000]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))


def endless(path):
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")


HOSTILE = {
    "pickle.pth": lambda path: path.write_bytes(pickle.dumps({"model": Canary(path.with_suffix(".canary"))})),
    "zip.pth": lambda path: torch.save({"model": Canary(path.with_suffix(".canary"))}, path),
    "truncated.pth": zipped,
    "lying.safetensors": lying,
    "endless.safetensors": endless,
    "empty.pth": lambda path: path.write_bytes(b""),
    "text.pth": lambda path: path.write_text("version https://git-lfs.github.com/spec/v1"),
}


@pytest.mark.parametrize(("loader", "place"), [(LOADER, "grounding-dino"), ("DeepBlend_LoadSAM", "sams")])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_and_nothing_in_them_is_executed(host, folder, loader, place, name):
    import folder_paths

    path = Path(folder_paths.models_dir, place, name)
    path.parent.mkdir(exist_ok=True)
    HOSTILE[name](path)
    if name == "zip.pth":
        assert zipfile.is_zipfile(path)
    with pytest.raises(RuntimeError, match=rf"model '{name}': it cannot be read as a file of weights \("):
        host.run_node(loader, model=name)
    assert not path.with_suffix(".canary").exists()
    path.unlink()


def test_the_canary_sings_when_it_is_unpickled(tmp_path):
    with pickle.loads(pickle.dumps(Canary(tmp_path / "canary"))):  # noqa: S301
        assert (tmp_path / "canary").exists()


def test_a_configuration_beside_a_checkpoint_is_never_run(host, linked, forms):
    pytest.importorskip("groundingdino", reason="groundingdino-py is not installed")
    canary = forms / "configuration.canary"
    for name in ("tiny.cfg.py", "tiny.py", "GroundingDINO_SwinT_OGC.cfg.py"):
        (forms / name).write_text(f"open({str(canary)!r}, 'w').close()\n")
    for backend in ("transformers", "groundingdino-py"):
        detect(host, linked, "tiny.pth", backend=backend)
    assert not canary.exists()


def test_a_folder_may_not_bring_its_own_code(host, linked, forms):
    import json

    canary = forms / "code.canary"
    (forms / "tiny" / "modeling.py").write_text(f"open({str(canary)!r}, 'w').close()\n")
    configuration = forms / "tiny" / "config.json"
    text = configuration.read_text()
    reference = {"AutoConfig": "modeling.Config", "AutoModel": "modeling.Model"}
    configuration.write_text(json.dumps({**json.loads(text), "auto_map": reference}))
    detect(host, linked, "tiny")
    assert not canary.exists()
    configuration.write_text(text)


@pytest.mark.parametrize("name", ["../secret.pth", "..\\secret.pth", "/etc/passwd", "grounding-dino/../../secret.pth"])
def test_a_workflow_cannot_reach_outside_of_the_folders(host, folder, name, linked):
    torch.save({"weight": torch.zeros(1)}, folder.parent / "secret.pth")
    with pytest.raises(RuntimeError, match=r"is not in models/grounding-dino|not in list"):
        host.run_node(LOADER, model=name)
    with pytest.raises(RuntimeError, match="is not in models/grounding-dino"):
        host.run_node(LOADER, model=linked(name))
