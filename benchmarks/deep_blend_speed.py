"""What deep blending costs, beside the public code of Deep Image Blending, in one process and in turns.

    DIB_REF=DeepImageBlending python benchmarks/deep_blend_speed.py [--threads 1] [--repeats 5] [--evaluations 240]
        [--sets dib_1 ...] [--networks vgg-16 ...] [--sizes 256 ...] [--device cuda] [--plot FILE] [PART ...]

Prints Markdown tables. Without DIB_REF, a checkout of owenzlz/DeepImageBlending, its rows are left out. Parts:

evaluations  one evaluation of stage 1 with its gradient, at 256 to 2048 pixels. The public code runs up to 512.
convergence  time until stage 1 has the loss that the public optimiser has after so many evaluations: torch's L-BFGS as
             the public code calls it, from noise, on our objective, whose evaluations are counted and priced with the
             public code's own seconds. Ours is measured, set-up included.
throughput   of the machine's fastest convolution, how much a VGG evaluation reaches.
chain        place, Auto Blend, stage 1 and stage 2 with the nodes' defaults, at 512 pixels.
memory       peak beside the inputs, in a process of its own; on Linux.

With --device cuda all is computed there, the public code too, and the wall's seconds stand for the processor's.

Networks: VGG-16 to relu4_3 and VGG-19 to relu4_1 with seeded random weights, every layer with a mean of 1 on the target; VGG-19
to relu3_1 from ../shared/models; the built-in model. Needs the tests' environment, and matplotlib for --plot.
"""

import argparse
import contextlib
import json
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import load_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import public_code

from blending_core import auto_blend
from blending_core.composite import composite
from blending_core.deep_blend import Problem, Settings, deep_blend
from blending_core.opponent_edge_bank import OpponentEdgeBank
from blending_core.placement import place
from blending_core.recipes import PAINTING, PHOTOGRAPH, RECIPES
from blending_core.vgg import VGG
from transfer_sets import TRANSFER, place_inputs

VGG_16, VGG_19, DEEP_VGG_19, BUILT_IN = "vgg-16", "vgg-19", "deep-vgg-19", "built-in"
NETWORKS = VGG_16, VGG_19, DEEP_VGG_19, BUILT_IN
SETS = ("dib_1", "dib_3", "dib_5")
SIZES = (256, 512, 1024, 2048)
PUBLIC_SIZES = (256, 512)
OURS = {"fp32": torch.float32, "bf16": torch.bfloat16}
PATIENCE = 45.0  # CPU seconds; what has used so many is not repeated
NEAR = 1e-3  # of a loss: as low as this counts as reached


def scene(name, size, device):
    """Object, mask and target of a set, the target's side `size` pixels, and the picture that Auto Blend makes of them."""
    inputs = place_inputs(name, long_side=size)
    source, target = (inputs[key].movedim(-1, 1).contiguous().to(device) for key in ("source", "target"))
    height, width = target.shape[-2:]
    center = inputs["x"] * width, inputs["y"] * height
    object_, mask = place(source, inputs["mask"][:, None].to(device), (height, width), center, inputs["scale"])
    plan = auto_blend.plan_seating(object_, mask, target)
    return *auto_blend.seat(object_, mask, target, plan, auto_blend.Settings()), target


def with_random_weights(layers, target):
    """The layers with filters without a mean, scaled until each layer's is 1 on the target."""
    generator = torch.Generator().manual_seed(0)
    maps = F.interpolate(target.cpu(), size=(224, 224), mode="area") - 0.45
    with torch.no_grad():
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                weight = torch.randn(layer.weight.shape, generator=generator)
                layer.weight.copy_(weight - weight.mean((1, 2, 3), keepdim=True))
                layer.bias.zero_()
                layer.weight.div_(F.relu(layer(maps)).mean())
            maps = layer(maps)
    return layers


def named(layers):
    return {f"features.{key}": value for key, value in layers.state_dict().items()}


def vgg19():
    """Its weights by name, and its layers."""
    weights = load_file(TRANSFER.parents[1] / "models" / "vgg19_relu3_1" / "vgg19_relu3_1.safetensors")
    layers = torchvision.models.vgg19(weights=None).features[:12]
    layers.load_state_dict({key.removeprefix("features."): value for key, value in weights.items()})
    return weights, layers


def models_of(target):
    """By name: the feature model, and its layers for the public code, if it can take them."""
    deep_16 = with_random_weights(torchvision.models.vgg16(weights=None).features[:23], target)
    deep_19 = with_random_weights(torchvision.models.vgg19(weights=None).features[:21], target)
    weights, layers_19 = vgg19()
    models = {
        VGG_16: (VGG(named(deep_16)), deep_16),
        VGG_19: (VGG(weights), layers_19),
        DEEP_VGG_19: (VGG(named(deep_19)), deep_19),
        BUILT_IN: (OpponentEdgeBank(), None),
    }
    return {
        name: (model.to(target.device), layers and layers.to(target.device)) for name, (model, layers) in models.items()
    }


def stage_1(recipe=PAINTING, evaluations=40, **more):
    return Settings(RECIPES[recipe].stage_1.scaled(histogram=0, total_variation=0), evaluations, **more)


def evaluation_of(problem):
    """A function without arguments: the loss at the start, and its gradient."""

    def evaluate():
        values = problem.start.clone().requires_grad_()
        total = sum(problem.terms(problem.composite_of(values), problem.rounding_pass is not None).values())
        torch.autograd.grad(total, values)

    return evaluate


def timed(function):
    """What it returns, CPU seconds and wall seconds; where a graphics card computes, twice the wall's."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = function()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
        return result, time.perf_counter() - wall, time.perf_counter() - wall
    return result, time.process_time() - cpu, time.perf_counter() - wall


def in_turns(methods, repeats):
    """Median CPU and wall seconds and the number of runs, by method. The first run, in which memory is had, is not counted."""
    times = {key: [] for key in methods}
    for count in range(repeats + 1):
        for key, method in methods.items():
            if sum(cpu for cpu, _ in times[key]) < PATIENCE:
                _, *seconds = timed(method)
                if count:
                    times[key].append(seconds)
    return {key: (*np.median(seconds, 0), len(seconds)) for key, seconds in times.items()}


def measure_evaluations(options):
    print("\n| set | side | object's box | network | statistics | method | CPU s | wall s | n | public / this, CPU |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    costs = {}
    for name in options.sets:
        for size in options.sizes:
            image, mask, target = scene(name, size, options.device)
            rows, columns = (torch.nonzero(mask[0, 0].amax(axis)) for axis in (1, 0))
            share = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1) / mask[0, 0].numel()
            models = models_of(target)
            for network in options.networks:
                (model, layers), methods = models[network], {}
                if public_code.CHECKOUT and layers is not None and size in PUBLIC_SIZES:
                    methods["both", "public"] = public_code.first_stage(name, size, layers, options.device)
                for statistics in ("object", "picture"):
                    for precision, dtype in OURS.items():
                        if dtype == torch.float32 or model.takes_bfloat16:
                            settings = stage_1(statistics=statistics, precision=dtype)
                            problem = Problem(image, mask, target, image, model, settings, True)
                            methods[statistics, precision] = evaluation_of(problem)
                times = in_turns(methods, options.repeats)
                public = times.get(("both", "public"), (float("nan"),))[0]
                for (statistics, method), (cpu, wall, count) in times.items():
                    costs.setdefault((name, network, statistics, method), {})[size] = cpu
                    ratio = f"{public / cpu:.1f}" if public == public else ""
                    print(
                        f"| {name} | {size} | {share.item():.0%} | {network} | {statistics} | {method} | {cpu:.4f} | "
                        f"{wall:.4f} | {count} | {ratio} |",
                        flush=True,
                    )
    if options.plot:
        plot(costs, options.plot)


def plot(costs, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = sorted({name for name, *_ in costs})
    figure, axes = pyplot.subplots(1, len(names), figsize=(4.5 * len(names), 4.5), sharey=True, squeeze=False)
    for axis, shown in zip(axes[0], names, strict=True):
        for (name, network, statistics, method), cost in costs.items():
            if name == shown and statistics in ("object", "both"):
                style = {"public": ":", "fp32": "-", "bf16": "--"}[method]
                color = (
                    "black"
                    if method == "public"
                    else {VGG_16: "C0", VGG_19: "C1", BUILT_IN: "C2", DEEP_VGG_19: "C3"}[network]
                )
                marker = {VGG_16: "o", VGG_19: "s", BUILT_IN: "^", DEEP_VGG_19: "v"}[network]
                label = (
                    f"{'public code, ' if method == 'public' else ''}{network}{', bf16' if method == 'bf16' else ''}"
                )
                axis.loglog(cost.keys(), cost.values(), style, color=color, marker=marker, label=label)
        axis.set(title=shown, xlabel="side of the target, pixels", xticks=SIZES, xticklabels=SIZES)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("CPU seconds per evaluation of stage 1")
    axes[0, 0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=80)


class EnoughError(Exception):
    """So many evaluations have been made."""


def public_losses(problem, counts):
    """The loss of the picture after so many evaluations of torch's L-BFGS, called as the public code does: from noise, in
    0..255, and cut off to that range at the end only."""
    torch.manual_seed(0)
    noise, losses, made = torch.randn(problem.start.shape), {}, 0
    values = noise.to(problem.start.device).requires_grad_()
    optimizer = torch.optim.LBFGS([values])

    def loss(values):
        return sum(problem.terms(problem.composite_of(values / 255)).values())

    def closure():
        nonlocal made
        if made in counts:
            with torch.no_grad():
                losses[made] = loss(values.clamp(0, 255)).item()
        if made == max(counts):
            raise EnoughError
        made += 1
        optimizer.zero_grad()
        # Times the public weight of the gradient term, without which L-BFGS would take small gradients for none.
        total = 1e4 * loss(values)
        total.backward()
        return total

    with contextlib.suppress(EnoughError):
        while True:
            optimizer.step(closure)
    return losses


def measure_convergence(options):
    print(
        "\nThe public optimiser's evaluations, loss and CPU seconds, then ours; reached: how far ours ends from that loss.\n"
    )
    print("| set | network | statistics | public | precision | evaluations | loss | CPU s | wall s | reached |", end="")
    print(f" within {NEAR:.1%} after | public / ours, CPU |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for name in [name for name in options.sets if name != "dib_5"]:
        image, mask, target = scene(name, 512, options.device)
        models = models_of(target)
        for network in [network for network in options.networks if network != BUILT_IN]:
            model, layers = models[network]
            evaluation = public_code.first_stage(name, 512, layers, options.device) if public_code.CHECKOUT else None
            seconds = in_turns({"": evaluation}, options.repeats)[""][0] if evaluation else float("nan")
            for statistics in ("picture", "object"):
                problem = Problem(image, mask, target, image, model, stage_1(statistics=statistics), True)
                losses = public_losses(problem, {240, options.evaluations})
                for precision, dtype in OURS.items():
                    settings = stage_1(statistics=statistics, precision=dtype)

                    ours = partial(deep_blend, image, mask, target, image, model, settings, blended=True)
                    runs = [timed(ours) for _ in range(options.repeats)]
                    totals = runs[0][0][1]["total"]
                    cpu, wall = np.median([seconds for _, *seconds in runs], 0)
                    for count, goal in losses.items():
                        until = next((i + 1 for i, total in enumerate(totals) if total <= goal * (1 + NEAR)), "-")
                        final = totals[-1] if dtype == torch.bfloat16 else min(totals)
                        print(
                            f"| {name} | {network} | {statistics} | {count}, {goal:.5f}, {count * seconds:.0f} | "
                            f"{precision} | {len(totals)} | {final:.5f} | {cpu:.2f} | {wall:.2f} | "
                            f"{final / goal - 1:+.3%} | {until} | {count * seconds / cpu:.0f} |",
                            flush=True,
                        )


def measure_throughput(options):
    print("\n| what | GFLOP | CPU s | GFLOP/s | of the fastest |\n|---|---|---|---|---|")
    fastest = 0.0
    for channels, side in ((64, 256), (128, 128), (256, 64)):
        maps = torch.rand(1, channels, side, side, device=options.device)
        maps = maps.contiguous(memory_format=torch.channels_last).requires_grad_()
        weight = torch.rand(channels, channels, 3, 3, device=options.device).contiguous(
            memory_format=torch.channels_last
        )

        def convolve(maps=maps, weight=weight):
            result = F.conv2d(maps, weight, padding=1)
            torch.autograd.grad(result, maps, result)

        cpu = in_turns({"": convolve}, 9)[""][0]
        work = 2 * 2 * channels**2 * 9 * side**2 / 1e9
        fastest = max(fastest, work / cpu)
        print(
            f"| convolution of {channels} channels, {side} x {side}, and back | {work:.1f} | {cpu:.3f} | {work / cpu:.0f} | |"
        )
    for name in options.sets:
        image, mask, target = scene(name, 512, options.device)
        models = models_of(target)
        for network in [network for network in options.networks if network != BUILT_IN]:
            model = models[network][0]
            evaluate = evaluation_of(Problem(image, mask, target, image, model, stage_1(), True))
            with FlopCounterMode(display=False) as counter:
                evaluate()
            work, cpu = counter.get_total_flops() / 1e9, in_turns({"": evaluate}, options.repeats)[""][0]
            print(
                f"| evaluation, {name}, {network} | {work:.1f} | {cpu:.3f} | {work / cpu:.0f} | "
                f"{work / cpu / fastest:.0%} |",
                flush=True,
            )


def measure_chain(options):
    print("\n| set | network | precision | evaluations of both stages | last losses | CPU s | wall s |", end="")
    print("\n|---|---|---|---|---|---|---|")
    torch.set_num_threads(options.chain_threads)
    base = RECIPES[PHOTOGRAPH]

    def chain(name, model, dtype):
        image, mask, target = scene(name, 512, options.device)
        counts, losses = [], []
        for weights, keep in ((base.stage_1, base.keep_color_1), (base.stage_2, base.keep_color_2)):
            weights = weights.scaled(histogram=0, total_variation=0, saturation=0)
            image, history = deep_blend(
                image, mask, target, image, model, Settings(weights, 30, keep, precision=dtype), blended=True
            )
            counts.append(len(history["total"]))
            losses.append(f"{history['total'][-1] if dtype == torch.bfloat16 else min(history['total']):.4f}")
        return ", ".join(map(str, counts)), ", ".join(losses)

    for name in options.sets:
        models = models_of(scene(name, 512, options.device)[2])
        for network in options.networks:
            model = models[network][0]
            for precision, dtype in OURS.items():
                if dtype == torch.float32 or model.takes_bfloat16:
                    found, cpu, wall = timed(partial(chain, name, model, dtype))
                    print(
                        f"| {name} | {network} | {precision} | {' | '.join(found)} | {cpu:.2f} | {wall:.2f} |",
                        flush=True,
                    )
    torch.set_num_threads(options.threads)


def measure_memory(options):
    print("\n| target | object | network | statistics | GiB beside the inputs |\n|---|---|---|---|---|")
    for size, side in ((512, 256), (4096, 1024)):
        for network in options.networks:
            for statistics in ("object", "picture"):
                case = json.dumps([size, side, network, statistics, options.device])
                command = [sys.executable, __file__, "--memory-of", case]
                peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
                print(
                    f"| {size} x {size} | {side} x {side} | {network} | {statistics} | {float(peak):.2f} |", flush=True
                )


def memory_of(size, side, network, statistics, device):
    """GiB, at the peak of a few evaluations of stage 1, above what the pictures and the network take."""
    target = F.interpolate(torch.rand(1, 3, size // 8, size // 8), size=(size, size), mode="bicubic").clamp(0, 1)
    target = target.to(device)
    model = models_of(target)[network][0]
    mask = torch.zeros(1, 1, size, size, device=device)
    start = (size - side) // 2 + 3
    mask[..., start : start + side, start : start + side] = 1
    image = composite(target.flip(3), mask, target)
    if target.is_cuda:
        torch.cuda.reset_peak_memory_stats()
    else:
        # Linux forgets the peak so far on this, and has the present size as the new one.
        Path("/proc/self/clear_refs").write_text("5")
    before = peak_size(device)
    deep_blend(image, mask, target, image, model, stage_1(evaluations=5, statistics=statistics), blended=True)
    print((peak_size(device) - before) / 2**20)


def peak_size(device):
    """KiB of memory that this process had at most, on the device."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**10
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


PARTS = {
    "evaluations": measure_evaluations,
    "convergence": measure_convergence,
    "throughput": measure_throughput,
    "chain": measure_chain,
    "memory": measure_memory,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", default=list(PARTS), metavar="PART")
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--chain-threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--evaluations", type=int, default=240)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--memory-of", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        memory_of(*options.memory_of)
        return
    for part in options.parts:
        PARTS[part](options)


if __name__ == "__main__":
    main()
