"""The placement widget of Place Object, used as a person does, against what ComfyUI then computes."""

import json
from pathlib import Path

import numpy as np
import pytest

from browser_page import LARGE

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
TARGET = (600, 400)
PLACE, MASK_VIEW, COMPOSITE_VIEW = 9, 10, 11
PLACING_PART = (1, 2, 3, 6, 7, PLACE, MASK_VIEW, COMPOSITE_VIEW)
LARGE_NODE = [700, 740]  # its view shows the target larger than it is


def whole_workflow():
    return json.loads((WORKFLOWS / "object_transfer.json").read_text(encoding="utf-8"))


def placing_workflow():
    """The part of object_transfer that ends with Place Object."""
    workflow = whole_workflow()
    workflow["nodes"] = [node for node in workflow["nodes"] if node["id"] in PLACING_PART]
    workflow["links"] = [link for link in workflow["links"] if link[1] in PLACING_PART and link[3] in PLACING_PART]
    left = {link[0] for link in workflow["links"]}
    for node in workflow["nodes"]:
        for output in node["outputs"]:
            output["links"] = [link for link in output["links"] or [] if link in left]
    for node_id in (MASK_VIEW, COMPOSITE_VIEW):  # clear of a large Place Object
        node_of(workflow, node_id)["pos"][0] = 1900
    workflow["groups"] = []
    return workflow


def node_of(workflow, node_id):
    return next(node for node in workflow["nodes"] if node["id"] == node_id)


def link(workflow, origin, output, target, name):
    """Wire an output to an input, which may be that of a widget."""
    number = 1 + max(each[0] for each in workflow["links"])
    inputs = node_of(workflow, target)["inputs"]
    slot = next(index for index, each in enumerate(inputs) if each["name"] == name)
    inputs[slot]["link"] = number
    outputs = node_of(workflow, origin)["outputs"]
    outputs[output]["links"] = [*(outputs[output]["links"] or []), number]
    workflow["links"].append([number, origin, output, target, slot, inputs[slot]["type"]])


@pytest.fixture(autouse=True)
def no_errors(editor):
    editor.errors.clear()
    yield
    assert editor.errors == []


@pytest.fixture
def widget(editor):
    """Its node has been run, and is large enough for its view to show every pixel of the target."""
    editor.load(placing_workflow(), size=LARGE_NODE)
    editor.queue(MASK_VIEW, COMPOSITE_VIEW)
    return editor.widget()


def center(widget, size=TARGET):
    """Of the object, in pixels of the target."""
    values = widget.values()
    return values["x"] * size[0], values["y"] * size[1]


def shift_that_fits_best(drawn, computed, around, reach=2):
    """By how many pixels (x, y) what is drawn lies beside what was computed, within 60 pixels of a point."""
    x, y = (round(value) for value in around)
    bottom, right = (length - reach for length in computed.shape[:2])
    rows, columns = slice(max(y - 60, reach), min(y + 60, bottom)), slice(max(x - 60, reach), min(x + 60, right))
    errors = {}
    for down in range(-reach, reach + 1):
        for across in range(-reach, reach + 1):
            moved = drawn[rows.start + down : rows.stop + down, columns.start + across : columns.stop + across]
            errors[across, down] = np.abs(moved - computed[rows, columns]).mean()
    return min(errors, key=errors.get), min(errors.values())


def assert_widget_shows_the_result(editor, widget, size=TARGET):
    """Runs the node: prompt, picture and widget say the same, to a pixel."""
    values = widget.values()
    editor.queue(MASK_VIEW, COMPOSITE_VIEW)
    prompt = editor.prompt()
    assert {name: prompt[name] for name in values} == values
    editor.leave(widget)
    shift, error = shift_that_fits_best(widget.drawn(size), editor.picture(COMPOSITE_VIEW), center(widget, size))
    assert shift == (0, 0)
    # Of 255. Wood is grainy and the view has pixels of its own; a patch at another place differs by 40 and more.
    assert error < 14


def test_whole_workflow_before_and_after_a_run(editor):
    editor.load(whole_workflow())
    widget = editor.widget()
    assert widget.note() == "Run once to see the object cut out."
    editor.keep("1_before_the_run")
    editor.queue(MASK_VIEW, COMPOSITE_VIEW)
    assert widget.note() == ""
    assert widget.numbers().startswith("532, 318 px")
    editor.keep("2_after_the_run")


def test_drag_moves_and_the_result_agrees(editor, widget):
    before = widget.values()
    assert_widget_shows_the_result(editor, widget)
    start, end = widget.to_screen(TARGET, center(widget), (250, 160))
    widget.drag(start, end)
    assert np.abs(np.subtract(center(widget), (250, 160))).max() < 0.5
    assert {**widget.values(), "x": 0, "y": 0} == {**before, "x": 0, "y": 0}
    editor.keep("3_dragged")
    assert_widget_shows_the_result(editor, widget)
    editor.undo()
    assert widget.values() == before
    # The node is another one now, and so must be what is seen and dragged.
    assert widget.script("return root.isConnected && document.querySelectorAll('.deepblend-place').length") == 1
    assert_widget_shows_the_result(editor, widget)
    start, end = widget.to_screen(TARGET, center(widget), (250, 160))
    widget.drag(start, end)
    assert np.abs(np.subtract(center(widget), (250, 160))).max() < 0.5


def test_handles_scale_and_turn_and_the_result_agrees(editor, widget):
    before = widget.values()
    handles = widget.handles(TARGET)
    middle, corner, tip = handles["center"], handles["scale"][2], handles["rotate"][0]
    further = [m + 1.5 * (c - m) for m, c in zip(middle, corner, strict=True)]
    widget.drag(corner, further)
    scaled = widget.values()
    assert scaled["scale"] == pytest.approx(1.5 * before["scale"], rel=0.01)
    assert {**scaled, "scale": 0} == {**before, "scale": 0}
    editor.keep("4_scaled")
    assert_widget_shows_the_result(editor, widget)

    tip = widget.handles(TARGET)["rotate"][0]
    to_the_right = middle[0] + np.hypot(tip[0] - middle[0], tip[1] - middle[1]), middle[1]
    # Two drags, because the handle begins upright: a quarter turn in all.
    widget.drag(tip, (middle[0], 2 * middle[1] - tip[1]) if tip[1] > middle[1] else to_the_right)
    turned = widget.values()
    assert turned["rotation"] == pytest.approx(90, abs=1)
    assert {**turned, "rotation": 0} == {**scaled, "rotation": 0}
    assert_widget_shows_the_result(editor, widget)
    editor.undo()
    assert widget.values() == scaled
    editor.undo()
    assert widget.values() == before


def test_arrows_nudge_by_whole_pixels_and_the_picture_follows(editor, widget):
    widget.set(rotation=0, x=0.3337, y=0.4)
    editor.queue(MASK_VIEW)
    still = editor.picture(MASK_VIEW)
    widget.focus()
    for key, times in (("ArrowRight", 3), ("Shift+ArrowDown", 1), ("ArrowUp", 1), ("ArrowLeft", 1)):
        for _ in range(times):
            editor.page.keyboard.press(key)
    editor.queue(MASK_VIEW)
    assert np.array_equal(editor.picture(MASK_VIEW)[9:, 2:], still[:-9, :-2])
    editor.keep("5_nudged")
    placed = widget.values()
    editor.undo()
    assert widget.values()["x"] > placed["x"], "one press is one step of undo"


def test_wheel_scales_only_after_a_click_into_the_view(editor, widget):
    (point,) = widget.to_screen(TARGET, (60, 60))
    before = widget.values()
    editor.leave(widget)
    editor.page.mouse.move(*point)
    editor.page.mouse.wheel(0, -120)
    editor.settle()
    assert editor.zoom() > 1
    assert widget.values() == before
    editor.show(PLACE, size=LARGE_NODE)
    editor.page.mouse.click(*point)
    for _ in range(3):
        editor.page.mouse.wheel(0, -120)
    editor.settle(700)  # a pause ends the gesture
    assert editor.zoom() == 1
    scaled = widget.values()
    assert scaled["scale"] > 1.3 * before["scale"]
    assert {**scaled, "scale": 0} == {**before, "scale": 0}
    assert_widget_shows_the_result(editor, widget)
    editor.undo()
    assert widget.values() == before, "turns of the wheel without a pause are one step"


def test_control_wheel_zooms_the_graph_even_then(editor, widget):
    (point,) = widget.to_screen(TARGET, (60, 60))
    before = widget.values()
    editor.page.mouse.click(*point)
    editor.page.keyboard.down("Control")
    editor.page.mouse.wheel(0, -120)
    editor.page.keyboard.up("Control")
    editor.settle()
    assert editor.zoom() > 1
    assert widget.values() == before


def test_middle_button_pans_the_graph(editor, widget):
    (point,) = widget.to_screen(TARGET, (60, 60))
    before, offset = widget.values(), editor.run_script("() => [...app.canvas.ds.offset]")
    editor.page.mouse.move(*point)
    editor.page.mouse.down(button="middle")
    editor.page.mouse.move(point[0] + 50, point[1] + 30, steps=5)
    editor.page.mouse.up(button="middle")
    editor.settle()
    moved = np.subtract(editor.run_script("() => [...app.canvas.ds.offset]"), offset)
    assert moved == pytest.approx([50, 30], abs=15)
    assert widget.values() == before


def test_space_bar_pans_the_graph_even_with_the_focus_in_the_view(editor, widget):
    (point,) = widget.to_screen(TARGET, (60, 60))
    editor.page.mouse.click(*point)
    before, offset = widget.values(), editor.run_script("() => [...app.canvas.ds.offset]")
    editor.page.keyboard.down(" ")
    editor.settle()
    widget.drag(point, (point[0] + 50, point[1] + 30))
    editor.page.keyboard.up(" ")
    editor.settle()
    moved = np.subtract(editor.run_script("() => [...app.canvas.ds.offset]"), offset)
    assert moved == pytest.approx([50, 30], abs=15)
    assert widget.values() == before
    widget.drag(*widget.to_screen(TARGET, center(widget), (300, 200)))
    assert center(widget) == pytest.approx((300, 200), abs=0.5), "afterwards a drag moves the object again"


def test_flip_and_reset(editor, widget):
    before = widget.values()
    widget.press("Flip")
    assert widget.values() == {**before, "flip": True}
    assert_widget_shows_the_result(editor, widget)
    (point,) = widget.to_screen(TARGET, (40, 40))
    editor.page.mouse.dblclick(*point)
    editor.settle()
    assert widget.values() == {"x": 0.5, "y": 0.5, "scale": 1, "rotation": 0, "flip": False}
    assert_widget_shows_the_result(editor, widget)


def test_touch_drags(editor, widget):
    start, end = widget.to_screen(TARGET, center(widget), (300, 200))
    session = editor.page.context.new_cdp_session(editor.page)
    for kind, share in (("touchStart", 0), ("touchMove", 0.4), ("touchMove", 1)):
        x, y = (s + share * (e - s) for s, e in zip(start, end, strict=True))
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    editor.settle()
    assert np.abs(np.subtract(center(widget), (300, 200))).max() < 1


def test_pen_drags(editor, widget):
    start, end = widget.to_screen(TARGET, center(widget), (300, 200))
    session = editor.page.context.new_cdp_session(editor.page)
    for kind, share in (
        ("mouseMoved", 0),
        ("mousePressed", 0),
        ("mouseMoved", 0.4),
        ("mouseMoved", 1),
        ("mouseReleased", 1),
    ):
        x, y = (s + share * (e - s) for s, e in zip(start, end, strict=True))
        event = {"type": kind, "x": x, "y": y, "pointerType": "pen", "button": "left", "clickCount": 1}
        session.send("Input.dispatchMouseEvent", event | {"buttons": 0 if kind == "mouseReleased" else 1})
    editor.settle()
    assert np.abs(np.subtract(center(widget), (300, 200))).max() < 1


def test_typed_number_moves_the_object(editor, widget):
    widget.set(x=0.25)
    editor.settle()
    assert widget.numbers().startswith("150, 318 px")


def primitive_float(value):
    return {
        "id": 50, "type": "PrimitiveFloat", "pos": [700, 700], "size": [200, 60], "flags": {}, "order": 0, "mode": 0,
        "inputs": [{"name": "value", "type": "FLOAT", "widget": {"name": "value"}, "link": None}],
        "outputs": [{"name": "FLOAT", "type": "FLOAT", "links": []}],
        "properties": {"Node name for S&R": "PrimitiveFloat"}, "widgets_values": [value],
    }  # fmt: skip


def test_linked_value_is_fixed_and_that_of_a_primitive_known_before_a_run(editor):
    workflow = placing_workflow()
    workflow["nodes"].append(primitive_float(0.25))
    link(workflow, 50, 0, PLACE, "x")
    editor.load(workflow, size=LARGE_NODE)
    widget = editor.widget()
    assert widget.note() == "x: fixed by a link."
    assert widget.numbers().startswith("150, 318 px")
    editor.queue(MASK_VIEW, COMPOSITE_VIEW)
    assert widget.note() == "x: fixed by a link."
    assert widget.numbers().startswith("150, 318 px")
    before = widget.values()
    widget.drag(*widget.to_screen(TARGET, (150, 318), (250, 218)))
    assert widget.values() == {**before, "y": pytest.approx(218 / 400, abs=0.002)}
    editor.keep("6_linked")
    editor.leave(widget)
    editor.queue(MASK_VIEW, COMPOSITE_VIEW)
    assert shift_that_fits_best(widget.drawn(TARGET), editor.picture(COMPOSITE_VIEW), (150, 218))[0] == (0, 0)


def test_computed_values_are_known_after_a_run_and_have_no_handle(editor):
    workflow = placing_workflow()
    convert = {
        "id": 53, "type": "ComfyNumberConvert", "pos": [700, 820], "size": [200, 60], "flags": {}, "order": 0, "mode": 0,
        "inputs": [{"name": "value", "type": "INT,FLOAT,STRING,BOOLEAN", "link": None}],
        "outputs": [{"name": "FLOAT", "type": "FLOAT", "links": []}, {"name": "INT", "type": "INT", "links": []}],
        "properties": {"Node name for S&R": "ComfyNumberConvert"}, "widgets_values": [],
    }  # fmt: skip
    workflow["nodes"] += [primitive_float(40.0), convert]
    link(workflow, 50, 0, 53, "value")
    link(workflow, 53, 0, PLACE, "rotation")
    editor.load(workflow, size=LARGE_NODE)
    widget = editor.widget()
    assert widget.note() == "rotation: fixed by a link; run once to see the value."
    editor.queue(MASK_VIEW, COMPOSITE_VIEW)
    assert widget.note() == "rotation: fixed by a link."
    assert widget.numbers().endswith("· 40°")
    before = widget.values()
    handles = widget.handles(TARGET, rotation=40)
    widget.drag(handles["rotate"][0], (handles["center"][0] - 90, handles["center"][1]))
    moved = widget.values()
    assert moved["rotation"] == before["rotation"]
    assert moved["x"] != before["x"], "where its handle would be, the object is dragged"
    editor.leave(widget)
    editor.queue(MASK_VIEW, COMPOSITE_VIEW)
    drawn, computed = widget.drawn(TARGET), editor.picture(COMPOSITE_VIEW)
    assert shift_that_fits_best(drawn, computed, center(widget))[0] == (0, 0)


def test_box_places_the_object(editor):
    workflow = placing_workflow()
    box = json.loads(json.dumps(node_of(workflow, 3))) | {"id": 51, "pos": [700, 700]}
    box["widgets_values"] = [120, 60, 200, 150]
    box["outputs"][0]["links"] = []
    workflow["nodes"].append(box)
    link(workflow, 51, 0, PLACE, "bboxes")
    editor.load(workflow, size=LARGE_NODE)
    widget = editor.widget()
    assert widget.note() == "x, y and scale come from bboxes; run once to see where."
    editor.queue(MASK_VIEW, COMPOSITE_VIEW)
    assert widget.note() == "x, y and scale come from bboxes."
    before = widget.values()
    widget.drag(*widget.to_screen(TARGET, (220, 135), (320, 235)))
    assert widget.values() == before
    editor.keep("7_box")
    widget.set(rotation=30)
    editor.queue(MASK_VIEW, COMPOSITE_VIEW)
    editor.leave(widget)
    drawn, computed = widget.drawn(TARGET), editor.picture(COMPOSITE_VIEW)
    # The dashed box itself lies further out.
    assert shift_that_fits_best(drawn[75:195, 160:280], computed[75:195, 160:280], (60, 60))[0] == (0, 0)


def batch_workflow():
    """The coffee, then the rocket, as one batch of targets in the rocket's size; a box for the second frame."""
    workflow = placing_workflow()
    rocket = json.loads(json.dumps(node_of(workflow, 2))) | {
        "id": 54,
        "pos": [0, 900],
        "widgets_values": ["rocket.png", "image"],
    }
    for each in rocket["outputs"]:
        each["links"] = []
    frames = {
        "id": 55, "type": "ImageBatch", "pos": [360, 900], "size": [200, 60], "flags": {}, "order": 0, "mode": 0,
        "inputs": [{"name": "image1", "type": "IMAGE", "link": None}, {"name": "image2", "type": "IMAGE", "link": None}],
        "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": []}],
        "properties": {"Node name for S&R": "ImageBatch"}, "widgets_values": [],
    }  # fmt: skip
    workflow["nodes"] += [rocket, frames]
    link(workflow, 2, 0, 55, "image1")
    link(workflow, 54, 0, 55, "image2")
    old = next(each for each in workflow["links"] if each[1] == 2 and each[3] == PLACE)
    workflow["links"].remove(old)
    node_of(workflow, 2)["outputs"][0]["links"].remove(old[0])
    link(workflow, 55, 0, PLACE, "target")
    return workflow


def test_frames_of_a_batch_one_after_the_other(editor):
    editor.load(batch_workflow(), size=LARGE_NODE)
    widget = editor.widget()
    assert widget.frames() == ""
    editor.queue(MASK_VIEW, COMPOSITE_VIEW)
    assert widget.frames() == "1 / 2"
    results = [editor.picture(COMPOSITE_VIEW, index) for index in (0, 1)]
    widget.focus()
    for key, place in (("PageDown", 1), ("PageDown", 1), ("PageUp", 0)):
        editor.page.keyboard.press(key)
        editor.settle()
        assert widget.frames() == f"{place + 1} / 2"
        editor.leave(widget)
        assert np.abs(widget.drawn(TARGET) - results[place]).mean() < 12
        widget.focus()
    widget.press("›")
    assert widget.frames() == "2 / 2"
    # One placement for all frames.
    widget.drag(*widget.to_screen(TARGET, center(widget), (250, 160)))
    assert center(widget) == pytest.approx((250, 160), abs=0.5)
    editor.keep("13_second_frame")
    editor.queue(MASK_VIEW, COMPOSITE_VIEW)
    assert widget.frames() == "2 / 2", "the frame that was looked at stays"
    editor.leave(widget)
    for index in (1, 0):
        computed = editor.picture(COMPOSITE_VIEW, index)
        assert shift_that_fits_best(widget.drawn(TARGET), computed, (250, 160))[0] == (0, 0)
        widget.press("‹")
        editor.leave(widget)
    editor.show(PLACE, size=[300, 560])
    editor.keep("15_narrow")
    *parts, root = widget.script(
        """const box = (each) => Object.fromEntries(["left", "top", "right", "bottom"].map((side) =>
            [side, each.getBoundingClientRect()[side]]));
        return [...root.querySelector(".deepblend-place-bar").children, root].map(box);"""
    )
    for index, part in enumerate(parts):
        assert part["left"] >= root["left"]
        assert part["right"] <= root["right"]
        assert part["bottom"] <= root["bottom"]
        for other in parts[:index]:
            assert part["left"] >= other["right"] or part["top"] >= other["bottom"], "nothing lies over another"


def test_items_of_a_list_are_counted_like_frames(editor):
    """Where frames come one at a time, as with a box for each, every one is the first of its own run."""
    workflow = batch_workflow()
    workflow["nodes"].append({
        "id": 56, "type": "RebatchImages", "pos": [360, 1000], "size": [200, 60], "flags": {}, "order": 0, "mode": 0,
        "inputs": [{"name": "images", "type": "IMAGE", "link": None}],
        "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": []}],
        "properties": {"Node name for S&R": "RebatchImages"}, "widgets_values": [1],
    })  # fmt: skip
    old = next(each for each in workflow["links"] if each[1] == 55 and each[3] == PLACE)
    workflow["links"].remove(old)
    node_of(workflow, 55)["outputs"][0]["links"].remove(old[0])
    link(workflow, 55, 0, 56, "images")
    link(workflow, 56, 0, PLACE, "target")
    editor.load(workflow, size=LARGE_NODE)
    widget = editor.widget()
    editor.queue(MASK_VIEW, COMPOSITE_VIEW)
    assert widget.frames() == "1 / 2"
    widget.press("›")
    assert widget.frames() == "2 / 2"


def test_what_stays_in_front_is_outlined(editor):
    workflow = placing_workflow()
    workflow["nodes"].append(
        {"id": 52, "type": "LoadImageMask", "pos": [700, 700], "size": [300, 320], "flags": {}, "order": 0, "mode": 0,
         "inputs": [], "outputs": [{"name": "MASK", "type": "MASK", "links": []}],
         "properties": {"Node name for S&R": "LoadImageMask"}, "widgets_values": ["occluder.png", "red", "image"]}
    )  # fmt: skip
    link(workflow, 52, 0, PLACE, "occluder")
    editor.load(workflow, size=LARGE_NODE)
    widget = editor.widget()
    editor.queue(MASK_VIEW, COMPOSITE_VIEW)
    editor.leave(widget)
    drawn, computed = widget.drawn(TARGET), editor.picture(COMPOSITE_VIEW)
    assert np.abs(drawn - computed)[250:390, 504:528].mean() < 14
    assert np.abs(drawn - computed)[250:390, 538:590].mean() < 14
    editor.keep("8_occluder")


def test_picture_exchanged_upstream_is_shown_at_once(editor, widget):
    editor.run_script(
        """() => {
            const combo = app.graph.getNodeById(2).widgets.find((each) => each.name === "image");
            combo.value = "rocket.png";
            combo.callback("rocket.png");
        }"""
    )
    editor.page.mouse.move(*widget.to_screen(TARGET, (60, 60))[0])
    editor.settle()
    editor.leave(widget)
    rocket = (640, 427)
    file = {"filename": "rocket.png", "type": "input"}
    assert np.abs(widget.drawn(rocket) - editor.file(file)).mean() < 12


def test_two_nodes_do_not_disturb_each_other(editor):
    workflow = placing_workflow()
    twin = json.loads(json.dumps(node_of(workflow, PLACE))) | {"id": 60, "pos": [1800, 120]}
    for each in twin["inputs"]:
        each["link"] = None
    for each in twin["outputs"]:
        each["links"] = []
    workflow["nodes"].append(twin)
    link(workflow, 2, 0, 60, "source")
    link(workflow, 1, 0, 60, "target")
    editor.load(workflow, scale=0.6)
    first, second = editor.widget(), editor.widget(60)
    before = first.values(), second.values()
    size = 512, 512
    second.drag(*second.to_screen(size, center(second, size), (256, 256)))
    assert first.values() == before[0]
    assert np.abs(np.subtract(center(second, size), (256, 256))).max() < 2
    second.focus()
    editor.page.keyboard.press("ArrowLeft")
    assert first.values() == before[0]
    editor.keep("9_two_nodes")
    moved = second.values()
    editor.queue(MASK_VIEW, COMPOSITE_VIEW)
    assert (first.note(), second.values()) == ("", moved)
    editor.run_script("id => app.graph.remove(app.graph.getNodeById(id))", 60)
    first.drag(*first.to_screen(TARGET, center(first), (200, 150)))
    assert center(first) == pytest.approx((200, 150), abs=1)


def test_script_leaves_the_workflow_as_it_is(editor, widget):
    saved = editor.run_script("id => app.graph.getNodeById(id).serialize()", PLACE)
    node = node_of(placing_workflow(), PLACE)
    assert saved["widgets_values"] == node["widgets_values"]
    assert [each["name"] for each in saved["inputs"]] == [each["name"] for each in node["inputs"]]
    assert set(editor.prompt()) == {"source", "target", "mask", "x", "y", "scale", "rotation", "flip"}


def test_inside_a_subgraph(editor, widget):
    inner = editor.run_script(
        """async (id) => {
            const { subgraph } = app.canvas.graph.convertToSubgraph(new Set([app.canvas.graph.getNodeById(id)]));
            await new Promise((resolve) => setTimeout(resolve, 300));
            app.canvas.setGraph(subgraph);
            await new Promise((resolve) => setTimeout(resolve, 300));
            return subgraph.nodes.find((node) => node.comfyClass === "DeepBlend_PlaceObject").id;
        }""",
        PLACE,
    )
    editor.show(inner, size=LARGE_NODE)
    inside = editor.widget(inner)
    assert inside.numbers() != "", "the pictures of the nodes outside are shown"
    editor.queue(MASK_VIEW, COMPOSITE_VIEW)
    assert inside.note() == ""
    inside.drag(*inside.to_screen(TARGET, center(inside), (200, 250)))
    assert np.abs(np.subtract(center(inside), (200, 250))).max() < 0.5
    editor.queue(MASK_VIEW, COMPOSITE_VIEW)
    editor.leave(inside)
    editor.keep("10_subgraph")
    drawn, computed = inside.drawn(TARGET), editor.picture(COMPOSITE_VIEW)
    assert shift_that_fits_best(drawn, computed, (200, 250))[0] == (0, 0)
    editor.run_script("() => app.canvas.setGraph(app.rootGraph)")


def test_words_and_focus_can_be_seen_in_both_themes(editor, widget):
    palette = "value => app.extensionManager.setting.set('Comfy.ColorPalette', value)"
    for theme in ("light", "dark"):
        editor.run_script(palette, theme)
        editor.leave(widget)
        for part in (".deepblend-place-numbers", "button"):
            seen = widget.seen(part)
            assert np.ptp(seen.mean(-1)) > 150, "of 255, between the letters and what is behind them"
        without = widget.seen("")
        widget.focus()
        editor.settle()
        assert np.abs(widget.seen("") - without)[:2].mean() > 30, "a line all around"
        editor.keep(f"11_{theme}")


def test_words_are_in_the_language_of_the_editor(editor):
    set_language = "value => app.extensionManager.setting.set('Comfy.Locale', value)"
    workflow = placing_workflow()
    workflow["nodes"].append(primitive_float(1.5))
    link(workflow, 50, 0, PLACE, "scale")
    expected = {
        "zh": ("翻转", "缩放：由连线决定。"),
        "fr": ("Flip", ": fixed by a link."),  # a language that the pack does not speak
    }
    editor.load(workflow)
    try:
        for language, (flip, note) in expected.items():
            editor.run_script(set_language, language)
            editor.page.wait_for_function(  # the editor opens its graph anew
                """([id, flip]) => app.graph.getNodeById(id)?.widgets.find((each) => each.name === "placement")
                    ?.element.querySelector("button").textContent === flip""",
                arg=[PLACE, flip],
            )
            for _ in range(10):  # the names of inputs are the editor's, whose own translations may come later than ours
                editor.load(workflow)
                if editor.widget().note().endswith(note):
                    break
                editor.settle(500)
            assert editor.widget().note().endswith(note)
            editor.keep(f"14_{language}")
    finally:
        editor.run_script(set_language, "en")
        editor.settle(1000)


def test_clearing_and_reloading(editor, widget):
    widget.focus()
    widget.set(x=0.75)
    editor.page.keyboard.press("ArrowRight")
    editor.settle(3000)  # the editor keeps its draft a while after a change
    values = widget.values()
    editor.reload()
    assert widget.values() == values
    editor.show(PLACE, size=LARGE_NODE)
    editor.queue(MASK_VIEW, COMPOSITE_VIEW)
    editor.queue(MASK_VIEW, COMPOSITE_VIEW)
    assert widget.note() == "", "a node from the cache shows its object after a reload too"
    widget.focus()
    editor.run_script("() => { app.clean(); app.graph.clear(); }")
    editor.settle()


def test_large_target_is_reached_to_the_pixel_and_dragged_at_how_many_frames_per_second(editor, record_property):
    workflow = placing_workflow()
    node_of(workflow, 2)["widgets_values"][0] = "large.png"
    node_of(workflow, PLACE)["widgets_values"] = [0.3, 0.4, 6.0, 10.0, False]
    editor.load(workflow, size=[420, 640])
    widget = editor.widget()
    editor.queue(COMPOSITE_VIEW)
    assert widget.note() == ""
    widget.focus()
    editor.page.keyboard.press("ArrowRight")
    # A number field would round to 0.001, which is four pixels here.
    assert widget.values()["x"] * LARGE[0] == pytest.approx(0.3 * LARGE[0] + 1, abs=0.05)
    (start,) = widget.to_screen(LARGE, center(widget, LARGE))
    editor.page.mouse.move(*start)
    editor.page.mouse.down()
    rate = widget.script(
        """const frames = 60, [x, y] = value;
        const frame = () => new Promise(requestAnimationFrame);
        await frame();
        const begin = performance.now();
        for (let index = 0; index < frames; index++) {
            const options = { pointerId: 1, clientX: x + index, clientY: y + index / 2, buttons: 1, bubbles: true };
            canvas.dispatchEvent(new PointerEvent("pointermove", options));
            await frame();
        }
        return (1000 * frames) / (performance.now() - begin);""",
        start,
    )
    editor.page.mouse.up()
    editor.keep("12_large")
    record_property("frames per second", rate)
    editor.note("frames_per_second", f"{rate:.0f} while the object is dragged over {LARGE[0]}×{LARGE[1]}\n")
