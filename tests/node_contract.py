"""What of a node saved workflows and API prompts depend on, and where a published node departs from it."""

MISSING = object()


def files(*names):
    """A list of files, which has at least these names whatever lies on the disk."""
    return {"names": names}


def differences(contract, info):
    """In sentences: how a node of /object_info departs from its contract (required inputs, optional ones, outputs).

    A prompt names inputs and gives their values, so names, types, choices and ranges count, and defaults for what it leaves
    out. A workflow of the editor holds the values of widgets by their place, and links by the places of inputs and outputs,
    so the order counts too.
    """
    required, optional, outputs = contract
    found = []
    for group, inputs in (("required", required), ("optional", optional)):
        order = info["input_order"].get(group, [])
        if order != list(inputs):
            found.append(f"its {group} inputs are {order}, not {list(inputs)}")
        for name in set(inputs) & set(order):
            found += _differences_of_input(name, *inputs[name], *info["input"][group][name])
    published = list(zip(info["output_name"], info["output"], strict=True))
    if published != list(outputs.items()):
        found.append(f"its outputs are {published}, not {list(outputs.items())}")
    if info["is_input_list"] or any(info["output_is_list"]):
        found.append("it takes or gives lists, which changes how often the nodes behind it run")
    return found


def _differences_of_input(name, kind, options, published_kind, published):
    if published_kind != kind:
        yield f"{name} is of type {published_kind}, not {kind}"
        return
    for option, value in options.items():
        if option == "names":
            if gone := sorted(set(value) - set(published["options"])):
                yield f"{name} no longer offers {', '.join(gone)}"
        elif published.get(option, MISSING) != value:
            yield f"{name} has {option} {published.get(option, 'none')!r}, not {value!r}"
