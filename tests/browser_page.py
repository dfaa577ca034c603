"""ComfyUI's editor in a real browser, and the placement widget in it."""

import base64
import json
from io import BytesIO

import numpy as np
from PIL import Image

from pictures import smooth_picture

LARGE = (3840, 2160)
NODE = "DeepBlend_PlaceObject"
VIEWPORT = {"width": 1400, "height": 900}
TIMEOUT = 60_000  # milliseconds
# What a fresh ComfyUI reports itself: files of the user that do not exist yet, model files that it asks the network for, and
# templates of its own, which are a package that the tests do without.
FOREIGN_ERRORS = (
    "/api/userdata",
    "/user.css",
    "missingModelDownload",
    "graph accessed before initialization",
    "/templates/index",
    "Error loading core workflow templates",
)


def write_pictures(folder):
    """occluder.png, a white post for the coffee; large.png, smooth and of the size LARGE."""
    post = np.zeros((400, 600, 3), np.uint8)
    post[:, 500:532] = 255
    Image.fromarray(post).save(folder / "occluder.png")
    small = (smooth_picture(LARGE[1] // 8, LARGE[0] // 8, 5) * 255).astype(np.uint8)
    Image.fromarray(small).resize(LARGE).save(folder / "large.png", compress_level=1)


class EditorPage:
    """The editor in classic or in Vue mode; collects errors that the page reports."""

    def __init__(self, context, url, vue, artefacts):
        self.url, self.vue, self.artefacts = url, vue, artefacts
        self.errors = []
        self.page = context.new_page()
        self.page.set_default_timeout(TIMEOUT)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._collect)
        self.page.request.post(f"{url}/settings/Comfy.VueNodes.Enabled", data=json.dumps(vue))
        self.open()

    def _collect(self, message):
        error = f"{message.text} ({message.location['url']})"
        if message.type == "error" and not any(part in error for part in FOREIGN_ERRORS):
            self.errors.append(error)

    def open(self):
        self.page.goto(self.url, wait_until="domcontentloaded")
        ready = f"!!(window.app?.graph && app.extensionManager?.setting && LiteGraph.registered_node_types['{NODE}'])"
        self.page.wait_for_function(ready)
        self.page.wait_for_timeout(500)

    def reload(self, node_id=9):
        """Load the page anew; the editor then restores the workflow."""
        self.open()
        self.page.wait_for_function("id => app.canvas?.graph?.getNodeById(id)", arg=node_id)
        self.settle()

    def run_script(self, script, value=None):
        return self.page.evaluate(script, value)

    def load(self, workflow, node_id=9, scale=1.0, size=None):
        """Open a workflow and bring a node of it into view, with a size of its own if one is given."""
        self.run_script("workflow => app.loadGraphData(workflow)", workflow)
        self.show(node_id, scale, size)

    def show(self, node_id, scale=1.0, size=None):
        self.run_script(
            """([id, scale, size]) => {
                const node = app.canvas.graph.getNodeById(id);
                if (size) node.setSize(size);
                app.canvas.ds.scale = scale;
                app.canvas.ds.offset = [-node.pos[0] + 320 / scale, -node.pos[1] + 90 / scale];
                app.canvas.setDirty(true, true);
            }""",
            [node_id, scale, size],
        )
        self.settle(300)

    def settle(self, milliseconds=150):
        """Wait, and then until every widget shows the pictures that it is to show."""
        self.page.wait_for_timeout(milliseconds)
        self.run_script(
            """async (end) => {
                const frame = () => new Promise(requestAnimationFrame);
                const isBusy = () => document.querySelector('.deepblend-place[aria-busy="true"]');
                await frame();
                do { await frame(); await frame(); } while (isBusy() && performance.now() < end);
                if (isBusy()) throw new Error("pictures are still loading");
            }""",
            self.run_script("() => performance.now()") + 20_000,
        )

    def widget(self, node_id=9):
        return PlacementWidget(self, node_id)

    def queue(self, *node_ids):
        """Run the part of the graph that these output nodes need; their outputs by node id."""
        outcome = self.run_script(
            """async (ids) => {
                const ended = new Promise((resolve) => {
                    for (const kind of ["execution_success", "execution_error", "execution_interrupted"])
                        app.api.addEventListener(kind, (event) => resolve([kind, event.detail]), { once: true });
                });
                await app.queuePrompt(0, 1, ids.map(String));
                return Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 50000, ["timeout", {}]))]);
            }""",
            list(node_ids),
        )
        assert outcome[0] == "execution_success", outcome
        self.settle()

    def picture(self, node_id, index=0):
        """One of the pictures that a node has put out, 0 to 255, `[H, W, 3]`."""
        return self.file(self.run_script("([id, index]) => app.nodeOutputs[id].images[index]", [str(node_id), index]))

    def file(self, file):
        data = self.page.request.get(f"{self.url}/view", params=file).body()
        return np.asarray(Image.open(BytesIO(data)).convert("RGB")).astype(float)

    def zoom(self):
        return self.run_script("() => app.canvas.ds.scale")

    def leave(self, widget):
        """Neither pointer nor focus stay in the widget, so that it shows no handles."""
        widget.script("root.blur()")
        self.page.mouse.move(200, VIEWPORT["height"] - 5)
        self.settle()

    def prompt(self, node_id=9):
        return self.run_script("async id => (await app.graphToPrompt()).output[id].inputs", str(node_id))

    def undo(self):
        self.page.keyboard.press("Control+z")
        self.settle(500)

    def comes_to(self, script, value, expected):
        """Whether the script's result is the expected one, now or, as on a busy machine, within a few seconds."""
        for _ in range(20):
            if self.run_script(script, value) == expected:
                return True
            self.settle(250)
        return False

    def keep(self, name):
        """A screenshot for a person to look at."""
        self.page.screenshot(path=self._artefact(f"{name}.png"), timeout=20_000)

    def note(self, name, text):
        """A line of a measurement, kept beside the screenshots."""
        self._artefact(f"{name}.txt").write_text(text, encoding="utf-8")

    def _artefact(self, name):
        self.artefacts.mkdir(parents=True, exist_ok=True)
        return self.artefacts / f"{'vue' if self.vue else 'classic'}_{name}"


class PlacementWidget:
    """The widget of one node, in use by mouse and keys; points are in pixels of the target."""

    def __init__(self, editor, node_id):
        self.editor, self.node_id, self.page = editor, node_id, editor.page
        self._find = "app.canvas.graph.getNodeById(id).widgets.find((each) => each.name === 'placement').element"

    def script(self, body, value=None):
        """Run a script with `root`, `canvas` and `node` of the widget, and `value`."""
        return self.editor.run_script(
            f"""async ([id, value]) => {{
                const root = {self._find}, canvas = root.querySelector("canvas");
                const node = app.canvas.graph.getNodeById(id);
                {body}
            }}""",
            [self.node_id, value],
        )

    def values(self):
        names = ("x", "y", "scale", "rotation", "flip")
        values = self.script("return Object.fromEntries(node.widgets.map((each) => [each.name, each.value]))")
        return {name: values[name] for name in names}

    def note(self):
        return self.script("return root.querySelector('.deepblend-place-note').textContent")

    def numbers(self):
        return self.script("return root.querySelector('.deepblend-place-numbers').textContent")

    def frames(self):
        """What stands between the buttons that go through the frames; nothing if they are not there."""
        return self.script(
            "const each = root.querySelector('.deepblend-place-frames'); return each.hidden ? '' : each.children[1].textContent"
        )

    def to_screen(self, size, *points):
        """Where pixels of a target of this (width, height) are on the screen."""
        left, top, width, css_width, css_height = self.script(
            "const r = canvas.getBoundingClientRect();"
            "return [r.left, r.top, r.width, canvas.offsetWidth, canvas.offsetHeight]"
        )
        zoom, margin = width / css_width, 14
        scale = min((css_width - 2 * margin) / size[0], (css_height - 2 * margin) / size[1])
        offset = (css_width - size[0] * scale) / 2, (css_height - size[1] * scale) / 2
        return [(left + (offset[0] + x * scale) * zoom, top + (offset[1] + y * scale) * zoom) for x, y in points]

    def handles(self, size, **linked):
        """Where the object's middle and its handles are on the screen: "center", and points of "scale" and "rotate".

        The last two are where they would be, whether shown or not; `linked` are values that its own widgets do not hold.
        """
        self.page.mouse.move(*self.to_screen(size, (size[0] / 2, size[1] / 2))[0])
        return self.script(
            """const { layOut } = await import("/extensions/ComfyUI-DeepBlend/place_object/layout.js");
            const run = app.nodeOutputs[id].placement[0], rect = canvas.getBoundingClientRect();
            const zoom = rect.width / canvas.offsetWidth;
            const onScreen = ({ x, y }) => [rect.left + x * zoom, rect.top + y * zoom];
            const placement = Object.fromEntries(node.widgets.map((each) => [each.name, each.value]));
            Object.assign(placement, value);
            const object = { source: run.source, box: run.mask_box };
            const view = { width: canvas.offsetWidth, height: canvas.offsetHeight };
            const layout = layOut({ target: run.target.size, object, placement, box: null }, view);
            return {
                center: onScreen(layout.center),
                scale: layout.handles.filter(({ kind }) => kind === "scale").map(onScreen),
                rotate: layout.handles.filter(({ kind }) => kind === "rotate").map(onScreen),
            };""",
            linked,
        )

    def set(self, **values):
        """As typing a number does."""
        self.script(
            """for (const [name, number] of Object.entries(value)) {
                const each = node.widgets.find((widget) => widget.name === name);
                each.value = number;
                each.callback?.(number, app.canvas, node);
            }""",
            values,
        )

    def seen(self, selector):
        """What the screen shows of a part of the widget, 0 to 255, `[H, W, 3]`; of all of it for an empty selector."""
        left, top, width, height = self.script(
            """const rect = (value ? root.querySelector(value) : root).getBoundingClientRect();
            return [rect.left, rect.top, rect.width, rect.height];""",
            selector,
        )
        around = 2  # pixels; the line that shows the focus lies outside
        clip = {"x": left - around, "y": top - around, "width": width + 2 * around, "height": height + 2 * around}
        png = self.page.screenshot(clip=clip, timeout=20_000)
        return np.asarray(Image.open(BytesIO(png)).convert("RGB")).astype(float)

    def focus(self):
        self.script("root.focus()")

    def press(self, text):
        """A button of the widget."""
        left, top = self.script(
            """const button = [...root.querySelectorAll("button")].find((each) => each.textContent === value);
            const rect = button.getBoundingClientRect();
            return [rect.left + rect.width / 2, rect.top + rect.height / 2];""",
            text,
        )
        self.page.mouse.click(left, top)
        self.page.wait_for_timeout(200)

    def drag(self, start, end, steps=6):
        """From a point of the screen to another."""
        self.page.mouse.move(*start)
        self.page.mouse.down()
        self.page.mouse.move(*end, steps=steps)
        self.page.mouse.up()
        self.page.wait_for_timeout(100)

    def drawn(self, size):
        """What the canvas shows of a target of this (width, height), resampled to it: `[height, width, 3]`."""
        url = self.script(
            """const [width, height] = value, margin = 14;
            const scale = Math.min((canvas.offsetWidth - 2 * margin) / width, (canvas.offsetHeight - 2 * margin) / height);
            const density = canvas.width / canvas.offsetWidth;
            const left = (canvas.offsetWidth - width * scale) / 2, top = (canvas.offsetHeight - height * scale) / 2;
            const copy = new OffscreenCanvas(width, height), context = copy.getContext("2d");
            context.imageSmoothingQuality = "high";
            const parts = [left, top, width * scale, height * scale].map((each) => each * density);
            context.drawImage(canvas, ...parts, 0, 0, width, height);
            const bytes = new Uint8Array(await (await copy.convertToBlob()).arrayBuffer());
            return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));""",
            list(size),
        )
        return np.asarray(Image.open(BytesIO(base64.b64decode(url))).convert("RGB")).astype(float)
