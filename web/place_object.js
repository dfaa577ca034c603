// The placement widget of Place Object: the object over the target, to be dragged, scaled and turned.
//
// The numbers stay in the node's ordinary widgets; this one shows and edits them, and is saved nowhere. Workflows, links and
// prompts are the same with and without it.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { Editor } from "./place_object/editor.js";
import { loadTexts } from "./place_object/texts.js";
import { watchOpening } from "./place_object/upstream.js";

const NODE = "DeepBlend_PlaceObject";
const SMALLEST_HEIGHT = 260; // of the widget
const FIRST_SIZE = [340, 600]; // of a new node

const style = document.createElement("link");
style.rel = "stylesheet";
style.href = new URL("./place_object/place_object.css", import.meta.url);
document.head.append(style);

/** Have `after` called whenever the node's own callback of that name is, behind it. */
function chain(owner, name, after) {
  const before = owner[name];
  owner[name] = function (...values) {
    const result = before?.apply(this, values);
    after(...values);
    return result;
  };
}

/**
 * Undo makes all nodes anew, but Vue nodes go on showing the element of the node that had the same number before: it has to
 * give way.
 */
function takeOver(node, root) {
  if (root.isConnected || node.graph !== app.canvas.graph) return;
  document.querySelector(`[data-node-id="${node.id}"] .deepblend-place`)?.replaceWith(root);
}

app.registerExtension({
  name: "DeepBlend.PlaceObject",
  init: loadTexts,
  setup: () => watchOpening(app.canvas.canvas),
  nodeCreated(node) {
    if (node.comfyClass !== NODE) return;
    const editor = new Editor(node);
    const widget = node.addDOMWidget("placement", "deepblend_placement", editor.panel.root, {
      serialize: false, // not in the prompt
      hideOnZoom: false,
      getMinHeight: () => SMALLEST_HEIGHT,
      getValue: () => "",
      setValue: () => {},
    });
    widget.serialize = false; // nor in the workflow
    node.setSize([Math.max(node.size[0], FIRST_SIZE[0]), Math.max(node.size[1], FIRST_SIZE[1])]);

    const refreshSoon = () =>
      requestAnimationFrame(() => {
        takeOver(node, editor.panel.root);
        editor.refresh();
      });
    chain(node, "onConfigure", refreshSoon);
    chain(node, "onConnectionsChange", refreshSoon);
    chain(node, "onExecuted", refreshSoon);
    chain(node, "onAdded", () => {
      api.addEventListener("graphChanged", refreshSoon);
      refreshSoon();
    });
    chain(node, "onRemoved", () => {
      api.removeEventListener("graphChanged", refreshSoon);
      editor.close();
    });
  },
});
