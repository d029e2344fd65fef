"""Every command of the README and of docs/ runs once, on phantoms and with budgets cut to seconds."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PAGES = [  # in the order in which their commands need each other's files; containers.md: tests/docker
    ROOT / name
    for name in (
        *("docs/datasets.md", "README.md", "docs/quality_control.md", "docs/monai_commands.md"),
        *("docs/networks.md", "docs/transfer.md", "docs/strategies.md", "docs/own_network.md", "docs/studies.md"),
        *("docs/prediction.md", "docs/metrics.md"),
    )
]
ELSEWHERE = ("bash scripts/demo.sh", "bash scripts/test.sh", "bash scripts/environment.sh")  # run by CI
BUDGET = {
    r"--iterations \d+": "--iterations 2",
    r"--validate_every \d+": "--validate_every 2",
    r"--patience \d+": "--patience 0",
    r"--workers \d+": "--workers 1",
    r'--window "\[[\d,]+\]"': '--window "[16,16,16]"',
    r"--size \d+": "--size 32",
    r"--batch_size \d+": "--batch_size 1",
    r"--arms \S+": "--arms scratch,2",
    r"--seeds \d+": "--seeds 1",
    r"--sizes \S+": "--sizes 1.0",
}


def commands(path: Path) -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [" ".join(re.sub(r"\s+# .*", "", line).split()) for line in lines if line.strip()]


def test_the_two_commands_come_first():
    assert commands(ROOT / "README.md")[:2] == ["bash scripts/demo.sh", "bash scripts/test.sh"]
    assert "bash scripts/test.sh" in (ROOT / ".ci" / "run").read_text()


def as_downloaded(ixi: Path, downloads: Path) -> None:
    """Put an IXI folder back into archives and FreeSurfer's folders."""
    downloads.mkdir()
    for name in ("IXI-T1", "IXI-T2"):
        with tarfile.open(downloads / f"{name}.tar", "w") as archive:
            for path in sorted((ixi / name).iterdir()):
                archive.add(path, path.name)
    for path in (ixi / "aseg").iterdir():
        mri = downloads / "freesurfer" / path.name.replace("-aseg.nii.gz", "") / "mri"
        mri.mkdir(parents=True)
        label = nib.load(path)
        nib.save(nib.MGHImage(np.asarray(label.dataobj).astype(np.uint8), label.affine), mri / "aseg.mgz")
    shutil.rmtree(ixi)


def as_decathlon(brats: Path, task: Path) -> None:
    """Write BraTS cases once more, as a task of the Medical Segmentation Decathlon."""
    for folder in ("imagesTr", "labelsTr"):
        (task / folder).mkdir(parents=True)
    training = []
    for case in sorted(path.parent for path in brats.rglob("*_seg.nii.gz")):
        scans = [nib.load(case / f"{case.name}_{name}.nii.gz") for name in ("t1", "t2", "seg")]
        t1, t2, seg = (np.asarray(scan.dataobj) for scan in scans)
        affine = scans[0].affine
        names = {"image": f"imagesTr/{case.name}.nii.gz", "label": f"labelsTr/{case.name}.nii.gz"}
        nib.save(nib.Nifti1Image(np.stack([t2, t1], -1), affine), task / names["image"])
        nib.save(nib.Nifti1Image(np.choose(seg.astype(int), [0, 2, 1, 0, 3]).astype(np.uint8), affine), task / names["label"])
        training.append(names)
    labels = {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}
    content = {"modality": {"0": "T2w", "1": "T1w"}, "labels": labels, "training": training, "test": []}
    (task / "dataset.json").write_text(json.dumps(content), encoding="utf-8")


def as_task04(ixi: Path, task: Path) -> None:
    """Write IXI cases once more, as a Decathlon task of one modality with a label for each side."""
    for folder in ("imagesTr", "labelsTr"):
        (task / folder).mkdir(parents=True)
    training = []
    for number, t1 in enumerate(sorted((ixi / "IXI-T1").iterdir())):
        label = nib.load(next((ixi / "aseg").glob(f"{t1.name.split('-')[0]}-*")))
        parts = np.select([np.asarray(label.dataobj) == value for value in (17, 53)], [1, 2]).astype(np.uint8)
        names = {"image": f"imagesTr/hippocampus_{number:03}.nii.gz", "label": f"labelsTr/hippocampus_{number:03}.nii.gz"}
        shutil.copy(t1, task / names["image"])
        nib.save(nib.Nifti1Image(parts, label.affine), task / names["label"])
        training.append(names)
    labels = {"0": "background", "1": "Anterior", "2": "Posterior"}
    content = {"modality": {"0": "MRI"}, "labels": labels, "training": training, "test": []}
    (task / "dataset.json").write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.slow
def test_every_command_of_the_pages_runs_once(tmp_path, phantoms, command):
    shutil.copytree(ROOT / "bundles", tmp_path / "bundles", ignore=shutil.ignore_patterns("models", "predictions"))
    shutil.copytree(phantoms, tmp_path / "data")
    for datalist in (tmp_path / "data").rglob("datalist.json"):
        datalist.unlink()
    shutil.copytree(tmp_path / "data", tmp_path / "data" / "phantom")
    as_downloaded(tmp_path / "data" / "ixi", tmp_path / "data" / "downloads")
    as_task04(tmp_path / "data" / "phantom" / "ixi", tmp_path / "data" / "Task04_Hippocampus")
    as_decathlon(tmp_path / "data" / "brats", tmp_path / "data" / "Task01_BrainTumour")
    places = (command.parent, Path(sys.executable).parent, os.environ["PATH"])
    environment = {**os.environ, "PATH": os.pathsep.join(map(str, places)), "PYTHONPATH": str(ROOT)}
    (own,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "own_network.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "my_networks.py").write_text(own, encoding="utf-8")
    documented = [*dict.fromkeys(line for page in PAGES for line in commands(page) if not line.startswith(ELSEWHERE))]
    assert len(documented) >= 25
    for side in ("ixi", "brats"):  # what the demo leaves behind
        documented.insert(0, f"monai_tl datalist {side} --root data/phantom/{side} --split 0.5,0.17,0.33")
    assert "monai_tl transfer --freeze 2" in documented  # from the weights in the bundle's folder, to the demo's phantoms
    for line in documented:
        if line.startswith(("monai_tl train ", "monai_tl transfer ")) and "--iterations" not in line:
            line += ' --iterations 2 --validate_every 2 --patience 0 --window "[16,16,16]"'  # not as the bundle has them
        line = line.replace("/data/", f"{tmp_path}/data/").replace("0.7,0.15,0.15", "0.5,0.17,0.33")
        for pattern, value in BUDGET.items():
            line = re.sub(pattern, value, line)
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    assert (tmp_path / "runs" / "freeze_2" / "scores_test.csv").is_file()
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    script = f"{example}\nprint(sum(value.numel() for group in optimiser.param_groups for value in group['params']))"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.split()[-1:] == ["766818"], done.stderr  # conv_0 and res_1 are frozen
