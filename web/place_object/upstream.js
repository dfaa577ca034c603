// What reaches the inputs of a node: pictures that the nodes upstream show already, values, and a box.

import { app } from "../../../scripts/app.js";
import { api } from "../../../scripts/api.js";

const SUBGRAPH_INPUT = -10; // id that a link from a subgraph's own input has as its origin
const BYPASSED = 4;
const LONGEST_WAY = 100; // links that are followed; a graph that is being edited may hold a cycle
const SIDES = ["x", "y", "width", "height"];

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

const openedBy = new Map(); // by a subgraph's id: that of the node by which it was opened last

/** Remember which of the nodes that share a subgraph it is looked at through. */
export function watchOpening(canvasElement) {
  canvasElement.addEventListener("subgraph-opened", ({ detail }) => openedBy.set(detail.subgraph.id, detail.fromNode.id));
}

/** The nodes that stand for a subgraph in the graphs around it; first the one by which it was opened. */
function instancesOf(subgraph) {
  const graphs = [app.rootGraph, ...(app.rootGraph.subgraphs?.values() ?? [])];
  const instances = graphs.flatMap((graph) => graph.nodes.filter((node) => node.subgraph === subgraph));
  const isOpened = (node) => sameId(node.id, openedBy.get(subgraph.id));
  return instances.sort((one, other) => isOpened(other) - isOpened(one));
}

/**
 * Where that comes from what reaches an input, through subgraphs, reroutes and bypassed nodes: {node, output}; where nothing
 * is wired to the last input on the way, {node, input}. {} if neither is known.
 */
function traced(node, slot) {
  for (let step = 0; step < LONGEST_WAY && node?.graph; step++) {
    // Not node.getInputLink: that of a subgraph's node means a link inside it.
    const input = node.inputs?.[slot];
    const link = input?.link == null ? null : node.graph.getLink(input.link);
    if (!link) return input ? { node, input } : {};
    if (sameId(link.origin_id, SUBGRAPH_INPUT)) {
      node = instancesOf(node.graph)[0];
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
    if (!origin) return {};
    const passesOn = origin.type === "Reroute" || origin.mode === BYPASSED;
    if (!passesOn) return { node: origin, output };
    const type = origin.outputs?.[output]?.type;
    slot = origin.type === "Reroute" ? 0 : (origin.inputs ?? []).findIndex((each) => each.type === type);
    if (slot < 0) return {};
    node = origin;
  }
  return {};
}

export const fileUrl = ({ filename, subfolder = "", type = "input" }) =>
  api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`);

/** Address of the picture that the node wired to an input shows, such as Load Image's; null if it shows none. */
export function shownPicture(node, name) {
  const { node: origin, output } = traced(node, node.findInputSlot(name));
  const file = output === undefined ? null : outputsOf(origin)?.images?.[0];
  return file?.filename ? fileUrl(file) : null;
}

/** What a node without wired inputs is set to, by the names of its widgets; null of any other. */
function settings(node) {
  if ((node.inputs ?? []).some((input) => input.link != null)) return null;
  return Object.fromEntries((node.widgets ?? []).map(({ name, value }) => [name, value]));
}

/**
 * Where a node's value comes from: {widget, node} to be changed, its own or that of a subgraph's node around it, or
 * {constant} of a primitive that is wired to it; {} if only a run will tell.
 */
export function valueSource(node, name) {
  const slot = (node.inputs ?? []).findIndex((input) => input.widget?.name === name);
  const { node: origin, output, input } = slot < 0 ? { node } : traced(node, slot);
  if (!origin) return {};
  if (output === undefined) {
    const isOther = (instance) => instance !== origin && !sameId(origin.id, openedBy.get(origin.subgraph.id));
    if (origin !== node && instancesOf(origin.subgraph).some(isOther)) return {}; // nobody knows which of them is meant
    const widget = origin.widgets?.find((each) => each.name === (input ? input.widget?.name : name));
    return widget ? { widget, node: origin } : {};
  }
  const constant = origin.outputs.length === 1 ? settings(origin)?.value : undefined;
  return ["number", "boolean"].includes(typeof constant) ? { constant } : {};
}

/** The box that a primitive wired to an input is set to; null if only a run will tell. */
export function constantBox(node, name) {
  const { node: origin, output } = traced(node, node.findInputSlot(name));
  const values = output === undefined || origin.outputs.length > 1 ? null : settings(origin);
  if (!values || SIDES.some((side) => typeof values[side] !== "number")) return null;
  return Object.fromEntries(SIDES.map((side) => [side, values[side]]));
}
