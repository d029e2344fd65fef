"""Measure speed: training steps, freezing, patches, start-up. Print a table and write JSON; compare ratios within one run only.

python scripts/benchmark.py [--device cpu] [--repeats 5] [--output benchmarks/results/NAME.json]
python scripts/benchmark.py --startup   time to help, to a refusal and to the first training step, each in a new process
python scripts/benchmark.py --waiting   a step of two threads that spin or sleep while they wait, on an idle and a busy machine
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fire
import monai
import torch
from monai.data import CacheDataset
from monai.inferers import SimpleInferer
from monai.losses import DiceCELoss
from monai.transforms import BorderPadd, ClassesToIndicesd, Compose, RandAffined, RandCropByLabelClassesd
from torch import nn

from monai_tl.device import MixedPrecisionInferer, choose_device, place
from monai_tl.networks.highres3dnet import HighRes3DNet
from monai_tl.networks.stages import stages
from monai_tl.training.patches import Patches, margin_for, room_for
from monai_tl.transfer.freeze import freeze


def median_seconds(work: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Return the median time of a function after one warm-up call; the device is synchronised."""
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def training_step(device: torch.device, size: int, precision: str, frozen: int = 0) -> Callable[[], None]:
    """Return a function that runs one AdamW step on two patches of ``size``³ voxels; ``plain``: float32, default layout."""
    network: nn.Module = HighRes3DNet(2, 2).to(device)
    inferer = SimpleInferer() if precision == "plain" else MixedPrecisionInferer(SimpleInferer(), device, precision)
    network = network if precision == "plain" else place(network, device)
    freeze(network, list(stages(network))[:frozen])
    optimiser = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad])
    loss = DiceCELoss(to_onehot_y=True, softmax=True, batch=True)
    image = torch.rand(2, 2, size, size, size, device=device)
    label = (torch.rand(2, 1, size, size, size, device=device) > 0.9).float()

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        loss(inferer(image, network), label).backward()
        optimiser.step()

    return step


def patch_draws(size: int = 96) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return two functions that draw the next patch from a cached 240×240×155 case: cropped only, and also augmented."""
    window, room = [size] * 3, room_for([size] * 3, 10.0, 0.1)
    image = torch.rand(2, 240, 240, 155)
    label = torch.zeros(1, 240, 240, 155)
    label[:, 100:130, 100:130, 60:90] = 1
    prepare = Compose(
        [
            BorderPadd(["image", "label"], margin_for(window, 10.0, 0.1), mode=["edge", "constant"]),
            ClassesToIndicesd("label", num_classes=2, max_samples_per_class=20000),
        ]
    )
    cases = CacheDataset([{"image": image, "label": label}], prepare, copy_cache=False, progress=False)
    cut = [
        RandCropByLabelClassesd(
            ["image", "label"], "label", room, ratios=[1, 1], num_classes=2, indices_key="label_cls_indices"
        )
    ]
    angle = [10 * torch.pi / 180] * 3
    turn = RandAffined(
        ["image", "label"],
        prob=1.0,
        rotate_range=angle,
        scale_range=[0.1] * 3,
        spatial_size=window,
        mode=["bilinear", "nearest"],
        padding_mode="border",
    )

    def drawing(transforms: list[Any]) -> Callable[[], Any]:
        patches, numbers = Patches(cases, Compose(transforms), seed=0), iter(range(10**9))
        return lambda: patches[next(numbers)]

    return drawing(cut), drawing([*cut, turn])


VERB = "import sys\nfrom monai_tl.__main__ import main\nsys.exit(main())"
# exits after the optimiser's first step
FIRST_STEP = (
    "import os\nfrom torch.optim.optimizer import register_optimizer_step_post_hook\n"
    f"register_optimizer_step_post_hook(lambda *_: os._exit(0))\n{VERB}"
)
STEPS = (
    f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nfrom benchmark import *\ncpu = torch.device('cpu')\n"
    "print(median_seconds(training_step(cpu, 24, 'plain'), cpu, 3))"
)


def process_seconds(code: str, *words: str, expect: int = 0) -> float:
    """Return the time of a new Python process from start to end."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    if done.returncode != expect:
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}: {done.stderr}")
    return time.perf_counter() - began


def startup_seconds(repeats: int) -> dict[str, float]:
    """Measure how long users wait for help, for the refusal of a simple error, and for the first training step."""

    def median(code: str, *words: str, expect: int = 0) -> float:
        return statistics.median(process_seconds(code, *words, expect=expect) for _ in range(repeats))

    bundle = str(Path(__file__).parents[1] / "bundles" / "ixi_hippocampus")
    with tempfile.TemporaryDirectory() as folder:
        process_seconds(VERB, "phantom", "--output", folder, "--subjects", "6", "--size", "32")
        process_seconds(VERB, "datalist", "ixi", "--root", f"{folder}/ixi", "--split", "0.5,0.17,0.33")
        words = ["train", "--bundle", bundle, "--dataset_dir", f"{folder}/ixi", "--window", "16,16,16", "--device", "cpu"]
        firsts = [process_seconds(FIRST_STEP, *words, "--output", f"{folder}/run_{n}") for n in range(repeats)]
    return {
        "help": median(VERB, "--help"),
        "help of a verb": median(VERB, "transfer", "--help"),
        "refusal of a missing run": median(VERB, "evaluate", "--run", "nowhere", expect=2),
        "refusal of a setting": median(VERB, "train", "--bundle", bundle, "--window", "16", expect=2),
        "to the first step": statistics.median(firsts),
    }


def waiting_seconds() -> dict[str, float]:
    """Measure a training step on 2×24³ with two threads, for each way in which threads wait for each other."""
    seconds = {}
    for others in (0, 1):
        for policy in ("ACTIVE", "PASSIVE"):
            environment = {**os.environ, "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": policy}
            with busy(others):
                done = subprocess.run(
                    [sys.executable, "-c", STEPS], env=environment, capture_output=True, text=True, check=True
                )
            seconds[f"step, {policy.lower()}, beside {others} busy"] = float(done.stdout)
    return seconds


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Run so many processes that each keep one core busy."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def calculation(where: torch.device, repeats: int, size: int) -> tuple[dict[str, float], dict[str, float]]:
    """Measure training steps, freezing and drawing patches; return seconds and ratios."""
    seconds = {
        "step, plain float32": median_seconds(training_step(where, size, "plain"), where, repeats),
        "step, as by default": median_seconds(training_step(where, size, "auto"), where, repeats),
        **{
            f"step, freeze {frozen}": median_seconds(training_step(where, size, "auto", frozen), where, repeats)
            for frozen in range(1, 6)
        },
    }
    cut, turned = patch_draws()
    cpu = torch.device("cpu")
    seconds["window 96³, cut"] = median_seconds(cut, cpu, 20 * repeats)
    seconds["window 96³, cut, turned and scaled"] = median_seconds(turned, cpu, 4 * repeats)
    default = seconds["step, as by default"]
    ratios = {"plain float32 / default": seconds["step, plain float32"] / default}
    ratios |= {f"freeze {k} / freeze 0": seconds[f"step, freeze {k}"] / default for k in range(1, 6)}
    return seconds, ratios


def benchmark(
    device: str = "auto",
    repeats: int = 5,
    size: int = 48,
    output: str = "",
    startup: bool = False,
    waiting: bool = False,
) -> None:
    """Measure, print the results and write them to ``output``."""
    where = choose_device(device)
    ratios: dict[str, float] = {}
    if startup:
        seconds = startup_seconds(repeats)
    elif waiting:
        seconds = waiting_seconds()
    else:
        seconds, ratios = calculation(where, repeats, size)
    for name, value in {**seconds, **ratios}.items():
        print(f"{name:40s} {value:9.4f}{' s' if name in seconds else ''}")
    if output:
        name = torch.cuda.get_device_name(where) if where.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
        versions = {"torch": torch.__version__, "monai": monai.__version__}
        setting = {"command": sys.argv, "device": name, "windows": f"2×{size}³", "repeats": repeats, "versions": versions}
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        Path(output).write_text(json.dumps({**setting, "median_seconds": seconds, "ratios": ratios}, indent=2) + "\n")


if __name__ == "__main__":
    fire.Fire(benchmark)
