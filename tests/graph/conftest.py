"""The real ComfyUI in this process: its loader, validation, executor, inference mode and caches, without HTTP."""

import asyncio
import sys
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

# What a test wires into a node, the tensors that were handed out for it, and what came out, by name.
WIRED, HANDED_OUT, CAPTURED = {}, {}, {}


def _register_test_nodes(nodes):
    class Wired:
        """Gives a value that a test put into WIRED; a tensor becomes an inference tensor, as every real one is."""

        RETURN_TYPES, FUNCTION, CATEGORY = ("*",), "give", "test"

        @classmethod
        def INPUT_TYPES(cls):
            return {"required": {"name": ("STRING", {})}}

        @classmethod
        def VALIDATE_INPUTS(cls, **_):
            return True

        def give(self, name):
            assert torch.is_inference_mode_enabled()
            value = WIRED[name]
            if isinstance(value, torch.Tensor):
                value = HANDED_OUT[name] = value.clone()
            return (value,)

    class Capture:
        """Keeps what the outputs of the node under test hold."""

        RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "keep", "test", True

        @classmethod
        def INPUT_TYPES(cls):
            return {"required": {"name": ("STRING", {}), "value": ("*", {})}}

        @classmethod
        def VALIDATE_INPUTS(cls, input_types):
            return True

        def keep(self, name, value):
            CAPTURED[name] = value
            return ()

    nodes.NODE_CLASS_MAPPINGS.update(DeepBlendTest_Wired=Wired, DeepBlendTest_Capture=Capture)


class Link:
    """A value that comes through a link and not from a widget."""

    def __init__(self, value):
        self.value = value


class Host:
    def __init__(self, comfyui, base):
        sys.path.insert(0, str(comfyui))
        import comfy.options  # noqa: F401, argument parsing stays off, so pytest's arguments are left alone
        from comfy.cli_args import args

        args.cpu = not torch.cuda.is_available()
        args.base_directory = str(base)
        args.front_end_root = str(base)
        import execution
        import nodes
        import server

        self.execution, self.nodes = execution, nodes
        self.server = server.PromptServer(asyncio.new_event_loop())
        self.server.send_sync = lambda *_: None
        from comfyui_server import make_base

        asyncio.run(nodes.init_builtin_extra_nodes())
        assert asyncio.run(nodes.load_custom_node(str(make_base(base)), module_parent="custom_nodes"))
        _register_test_nodes(nodes)
        self.executor = self.new_executor()
        self.extra_data = {"client_id": "test"}  # what comes with a prompt; the editor's workflow, if it is from there

    def new_executor(self):
        cache = {"cache_type": self.execution.CacheType.CLASSIC, "cache_args": {"lru": 0, "ram": 0, "ram_inactive": 0}}
        return self.execution.PromptExecutor(self.server, **cache)

    def run(self, prompt):
        """Validate and execute a prompt; its outcome, error text and which nodes came from the cache."""
        prompt_id = str(uuid.uuid4())
        valid, error, outputs, node_errors = asyncio.run(self.execution.validate_prompt(prompt_id, prompt, None))
        if not valid:
            details = [f"{e['message']} {e['details']}" for node in node_errors.values() for e in node["errors"]]
            return SimpleNamespace(success=False, error=f"{error['message']} {details}", cached=[])
        self.executor.execute(prompt, prompt_id, self.extra_data, outputs)
        messages = dict(self.executor.status_messages)
        if "execution_interrupted" in messages:
            return SimpleNamespace(success=False, error="interrupted", cached=[])
        return SimpleNamespace(
            success=self.executor.success,
            error=messages.get("execution_error", {}).get("exception_message"),
            cached=messages["execution_cached"]["nodes"],
        )

    def run_node(self, node, **inputs):
        """Outputs of one node, run by the executor; raises RuntimeError with the error text the user would see.

        Tensors and boxes are wired in, and what stands in a Link; other values are widgets. Widgets that are left out
        have their defaults.
        """
        required = self.nodes.NODE_CLASS_MAPPINGS[node].INPUT_TYPES()["required"]
        values = {name: spec[1]["default"] for name, spec in required.items() if "default" in spec[1]}
        values = {name: value for name, value in values.items() if not required[name][1].get("forceInput")}
        values |= {name: value for name, value in inputs.items() if value is not None}
        count = len(self.nodes.NODE_CLASS_MAPPINGS[node].RETURN_TYPES)
        prompt = {"node": {"class_type": node, "inputs": values}}
        outputs = self.run_graph(prompt, *(["node", index] for index in range(count)))
        return outputs[0] if count == 1 else outputs

    def run_graph(self, prompt, *wanted):
        """What the outputs [node, index] of a graph hold; values that no widget has are wired in, as by run_node."""
        prompt = {node: {**entry, "inputs": dict(entry["inputs"])} for node, entry in prompt.items()}
        for values_of_a_run in (WIRED, HANDED_OUT, CAPTURED):
            values_of_a_run.clear()
        for entry in list(prompt.values()):
            for name, value in entry["inputs"].items():
                is_output = isinstance(value, list) and value[:1] and isinstance(value[0], str)
                if not is_output and isinstance(value, (torch.Tensor, dict, list, Link)):
                    # A name of its own for every value, or the executor would take the last one from its cache.
                    key = f"{name}-{uuid.uuid4()}"
                    WIRED[key] = value.value if isinstance(value, Link) else value
                    prompt[key] = {"class_type": "DeepBlendTest_Wired", "inputs": {"name": key}}
                    entry["inputs"][name] = [key, 0]
        for index, output in enumerate(wanted):
            inputs = {"name": str(index), "value": output}
            prompt[f"out{index}"] = {"class_type": "DeepBlendTest_Capture", "inputs": inputs}
        result = self.run(prompt)
        if not result.success:
            raise RuntimeError(result.error)
        for key, tensor in HANDED_OUT.items():
            assert torch.equal(tensor, WIRED[key]) or tensor.isnan().any(), f"a node wrote into its input {key}"
        return [CAPTURED[str(index)] for index in range(len(wanted))]


@pytest.fixture(scope="session")
def host(comfyui, tmp_path_factory):
    return Host(comfyui, tmp_path_factory.mktemp("comfyui"))


@pytest.fixture(scope="session")
def linked():
    """Makes a value come through a link."""
    return Link


@pytest.fixture
def photographs(host):
    """What the workflows load, in the input folder."""
    import folder_paths

    from comfyui_server import write_photographs

    write_photographs(Path(folder_paths.get_input_directory()))
