// What the nodes upstream show already, before Place Object has run.

import { app } from "../../../scripts/app.js";
import { api } from "../../../scripts/api.js";

const SUBGRAPH_INPUT = -10; // id that a link from a subgraph's own input has as its origin
const BYPASSED = 4;
const LONGEST_WAY = 100; // links that are followed; a graph that is being edited may hold a cycle

const sameId = (id, other) => String(id) === String(other);

/** Key of a node in the editor's outputs: its id, in a subgraph with that of the subgraph before it. */
export function outputsKey(node) {
  return node.graph === app.rootGraph ? String(node.id) : `${node.graph.id}:${node.id}`;
}

/** What the editor holds of the node's last run. */
export const outputsOf = (node) => app.nodeOutputs?.[outputsKey(node)];

/** Whether anything is wired to the input, which may be one of a widget. */
export function isWired(node, name) {
  return (node.inputs ?? []).some((input) => input.name === name && input.link != null);
}

/** The node in the graph around a subgraph that stands for it. */
function instanceOf(subgraph) {
  const graphs = [app.rootGraph, ...(app.rootGraph.subgraphs?.values() ?? [])];
  for (const graph of graphs) {
    const instance = graph.nodes.find((node) => node.subgraph === subgraph);
    if (instance) return instance;
  }
  return null;
}

/** The node whose output reaches an input, through subgraphs, reroutes and bypassed nodes; null if there is none. */
function originOf(node, slot) {
  for (let step = 0; step < LONGEST_WAY && node?.graph; step++) {
    // Not node.getInputLink: that of a subgraph's node means a link inside it.
    const wired = node.inputs?.[slot]?.link;
    const link = wired == null ? null : node.graph.getLink(wired);
    if (!link) return null;
    if (sameId(link.origin_id, SUBGRAPH_INPUT)) {
      node = instanceOf(node.graph);
      slot = link.origin_slot;
      continue;
    }
    let origin = node.graph.getNodeById(link.origin_id);
    let output = link.origin_slot;
    while (origin?.subgraph) {
      const inner = origin.subgraph.outputNode?.slots[output]?.getLinks().at(0);
      output = inner?.origin_slot;
      origin = inner ? origin.subgraph.getNodeById(inner.origin_id) : null;
    }
    if (!origin) return null;
    const passesOn = origin.type === "Reroute" || origin.mode === BYPASSED;
    if (!passesOn) return origin;
    const type = origin.outputs?.[output]?.type;
    slot = origin.type === "Reroute" ? 0 : (origin.inputs ?? []).findIndex((input) => input.type === type);
    if (slot < 0) return null;
    node = origin;
  }
  return null;
}

export const fileUrl = ({ filename, subfolder = "", type = "input" }) =>
  api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`);

/** Address of the picture that the node wired to an input shows, such as Load Image's; null if it shows none. */
export function shownPicture(node, name) {
  const slot = node.findInputSlot(name);
  const origin = slot < 0 ? null : originOf(node, slot);
  const file = origin && outputsOf(origin)?.images?.[0];
  return file?.filename ? fileUrl(file) : null;
}
