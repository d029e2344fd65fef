"""Scans that changed, one image under two ids, and test cases that a source was trained on."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_tl.cli.data_verbs import datalist_brats
from tests.conftest import BRATS, TINY, mentions
from tests.trust.conftest import head, write_brats, write_image

TOPIC = "Data that changed, leaks"
SUBJECTS = [f"Brats18_TEST_{n}" for n in range(1, 5)]
SPLITS = {"train": SUBJECTS[:2], "validation": SUBJECTS[2:3], "test": SUBJECTS[3:]}
FLAGS = [text for name, value in TINY.items() for text in (f"--{name}", str(value).replace(" ", ""))]


def scan(root, subject, ending):
    return root / subject / f"{subject}_{ending}.nii.gz"


def rewrite(path, change=lambda voxels: voxels, to=None, **header):
    """Write an image again, its voxels changed, under another name if asked."""
    image = nib.load(path)
    other = nib.Nifti1Image(change(np.asanyarray(image.dataobj)), image.affine, image.header)
    for name, value in header.items():
        other.header[name] = value
    nib.save(other, to or path)
    return to or path


def listed(verb, root, splits, *flags):
    lists = root.parent / f"{root.name}_lists.json"
    lists.write_text(json.dumps(splits))
    return verb("datalist", "brats", "--root", root, "--split", lists, *flags)


def trained(verb, root, run, *flags):
    return verb("train", "--bundle", BRATS, "--dataset_dir", root, "--output", run, *FLAGS, *flags)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Four heads, not to be changed, and a run that was trained on two of them."""
    from monai_tl.workflow.launch import run_configs
    from monai_tl.workflow.merged_config import bundle_config

    folder = tmp_path_factory.mktemp("made")
    root = write_brats(folder / "brats", SUBJECTS)
    (folder / "lists.json").write_text(json.dumps(SPLITS))
    datalist_brats(root=str(root), split=str(folder / "lists.json"))
    settings = {"bundle_root": str(BRATS), "dataset_dir": str(root), "run_dir": str(folder / "run"), **TINY}
    run_configs([bundle_config(BRATS, "train")], settings)
    return folder


@pytest.fixture
def begun(made, tmp_path):
    """A copy of both at another place; the run's config says so."""
    shutil.copytree(made, tmp_path / "made")
    config = tmp_path / "made" / "run" / "config.yaml"
    config.write_text(config.read_text().replace(str(made), str(tmp_path / "made")))
    return tmp_path / "made"


# Changed between kill and resume


def test_mirrored_scans_are_not_trained_on(begun, verb, says):
    for subject in SUBJECTS:
        rewrite(scan(begun / "brats", subject, "t1"), lambda voxels: voxels[::-1].copy())
    before = {path.name: path.stat().st_mtime_ns for path in (begun / "run").iterdir()}
    answer = trained(verb, begun / "brats", begun / "run", "--resume", "true")
    assert answer.code == 2
    assert {path.name: path.stat().st_mtime_ns for path in (begun / "run").iterdir()} == before
    texts = ("4 scans have changed", f"T1 of {SUBJECTS[0]} (", "restore them … another folder")
    says(TOPIC, "scans mirrored in place between a kill and --resume", "train, transfer", answer, *texts)


@pytest.mark.parametrize(
    ("subject", "ending", "change", "came"),
    [
        (SUBJECTS[1], "seg", lambda voxels: np.roll(voxels, 1, 0), "a label redrawn between a kill and --resume"),
        (SUBJECTS[2], "t2", lambda voxels: (voxels + (voxels > 250)).astype("f4"), "a validation image of other intensities"),
        (SUBJECTS[3], "t1", lambda voxels: voxels * (voxels > 300), "a test image stripped of its skull after the run began"),
    ],
)
def test_any_other_scan_is_refused_by_name(begun, verb, says, subject, ending, change, came):
    role = {"seg": "label"}.get(ending, ending.upper())
    rewrite(scan(begun / "brats", subject, ending), change)
    answer = trained(verb, begun / "brats", begun / "run", "--resume", "true")
    assert answer.code == 2
    says(TOPIC, came, "train, transfer", answer, "1 scan has changed", f"{role} … {subject}")


def test_a_scan_that_was_moved_in_space_is_another_one(begun, verb):
    affine = np.eye(4)
    affine[0, 3] = 0.5
    for ending in ("t1", "t2", "seg"):
        path = scan(begun / "brats", SUBJECTS[0], ending)
        write_image(path, np.asanyarray(nib.load(path).dataobj).copy(), affine)
    answer = trained(verb, begun / "brats", begun / "run", "--resume", "true")
    assert answer.code == 2
    assert f"T1 of {SUBJECTS[0]}" in answer.err


def test_the_same_scans_in_other_files_are_the_same(begun, verb):
    """Touched, compressed again, described otherwise, stored as another number type: no voxel and no place is another one."""
    root = begun / "brats"
    os.utime(scan(root, SUBJECTS[0], "t1"))
    path = scan(root, SUBJECTS[0], "t2")
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 1))
    rewrite(
        scan(root, SUBJECTS[1], "t1"),
        lambda voxels: voxels.astype(np.float64),
        descrip=b"exported again",
        datatype=64,
        bitpix=64,
    )
    answer = trained(verb, root, begun / "run", "--resume", "true")
    assert (answer.code, "changed" in answer.err + answer.out) == (0, False)


def test_a_test_image_that_changed_is_not_scored(begun, verb, says):
    path = scan(begun / "brats", SUBJECTS[3], "t1")
    kept = path.read_bytes()
    rewrite(path, lambda voxels: voxels[::-1].copy())
    answer = verb("evaluate", "--run", begun / "run")
    assert (answer.code, (begun / "run" / "scores_test.csv").exists()) == (2, False)
    texts = (f"T1 of {SUBJECTS[3]} (", "(--datalist FILE)")
    says(TOPIC, "a test image that changed after training", "evaluate", answer, *texts)
    path.write_bytes(kept)
    answer = verb("evaluate", "--run", begun / "run")
    assert answer.code == 0
    compared = "1 test case compared with 2 training and 1 validation case of this run: none shared"
    assert compared in answer.err + answer.out


def test_a_study_goes_on_with_the_scans_it_was_planned_with_alone(begun, verb, says, tmp_path):
    flags = ["--target", BRATS, "--dataset_dir", begun / "brats", "--arms", "scratch", "--output", tmp_path / "study", *FLAGS]
    assert verb("study", "layers", *flags, "--seeds", "1").code == 0
    rewrite(scan(begun / "brats", SUBJECTS[0], "seg"), lambda voxels: np.roll(voxels, 1, 1))
    answer = verb("study", "layers", *flags, "--seeds", "2")
    assert answer.code == 2
    assert not (tmp_path / "study" / "runs" / "scratch_n2_seed1").exists()
    texts = ("1 scan differs … the study was planned with", f"label of {SUBJECTS[0]}")
    says(TOPIC, "a label that changed while a study was interrupted", "study", answer, *texts)


# One image under two ids


def twin(root, subject, of):
    """The same images under another id, in other files: unpacked, described otherwise, as doubles, with another label."""
    (root / subject).mkdir()
    for ending in ("t1", "t2"):
        rewrite(
            scan(root, of, ending),
            lambda voxels: voxels.astype(np.float64),
            to=scan(root, subject, ending),
            datatype=64,
            bitpix=64,
        )
    write_image(scan(root, subject, "seg"), head(99)["label"])


def test_a_copy_in_another_split_is_refused(tmp_path, verb, says):
    root = write_brats(tmp_path / "brats", SUBJECTS)
    shutil.copytree(root / SUBJECTS[0], root / "Brats18_COPY_1")
    for path in (root / "Brats18_COPY_1").iterdir():
        path.rename(path.with_name(path.name.replace(SUBJECTS[0], "Brats18_COPY_1")))
    answer = listed(verb, root, {**SPLITS, "test": [*SPLITS["test"], "Brats18_COPY_1"]})
    assert (answer.code, (root / "datalist.json").exists()) == (2, False)
    texts = (f"T1 of Brats18_COPY_1 (test) = T1 of {SUBJECTS[0]} (train)", "--leave_out")
    says(TOPIC, "a copied case in another split, under another id", "datalist, train", answer, *texts)


def test_equal_voxels_in_other_files_are_found(tmp_path, verb, says):
    root = write_brats(tmp_path / "brats", SUBJECTS)
    twin(root, "Brats18_TWIN_1", SUBJECTS[3])
    answer = listed(verb, root, {**SPLITS, "validation": [*SPLITS["validation"], "Brats18_TWIN_1"]})
    assert answer.code == 2
    came = "one head in validation and test, once as 64-bit numbers with another header and label"
    says(TOPIC, came, "datalist, train", answer, f"T1 of {SUBJECTS[3]} (test) = T1 of Brats18_TWIN_1 (validation)")
    answer = listed(verb, root, {**SPLITS, "test": [*SPLITS["test"], "Brats18_TWIN_1"]})
    assert answer.code == 0
    says(TOPIC, "one head twice in a split", "datalist, train", answer, "several ids: T1 of", "(test)")
    answer = verb("check", root, "--output", tmp_path / "qc")
    message = f"T1 … T1 of {SUBJECTS[3]}"
    says(TOPIC, "one head under two ids, before there are splits", "check", answer, message)
    assert (tmp_path / "qc" / "qc.csv").read_text().count("T1 is identical, voxel for voxel") == 2


def test_two_modalities_that_are_one_image_are_refused(tmp_path, verb, says):
    root = write_brats(tmp_path / "brats", SUBJECTS)
    shutil.copy(scan(root, SUBJECTS[1], "t1"), scan(root, SUBJECTS[1], "t2"))
    answer = listed(verb, root, SPLITS)
    assert answer.code == 2
    texts = ("one image is used for two modalities", f"T1 of {SUBJECTS[1]} (train) = T2 of {SUBJECTS[1]} (train)")
    says(TOPIC, "T2 that is T1", "datalist, train", answer, *texts)


def test_training_finds_what_became_one_image_after_the_datalist(tmp_path, verb):
    root = write_brats(tmp_path / "brats", SUBJECTS)
    assert listed(verb, root, SPLITS).code == 0
    for ending in ("t1", "t2", "seg"):
        shutil.copy(scan(root, SUBJECTS[0], ending), scan(root, SUBJECTS[3], ending))
    answer = trained(verb, root, tmp_path / "run")
    assert (answer.code, (tmp_path / "run").exists()) == (2, False)
    assert f"T1 of {SUBJECTS[0]} (train) = T1 of {SUBJECTS[3]} (test)" in answer.err


# Test cases that the source was trained on


def target(tmp_path, first="Brats18_OTHER_1", seed=50):
    others = [first, "Brats18_OTHER_2", "Brats18_OTHER_3"]
    root = write_brats(tmp_path / "target", others, seed=seed)
    return root, {"train": others[:1], "validation": others[1:2], "test": others[2:]}


def transferred(verb, root, source, run, *flags):
    options = ["--source", source, "--target", BRATS, "--dataset_dir", root, "--output", run, "--freeze", "2", *FLAGS]
    return verb("transfer", *options, *flags)


def copied(made, root, of, subject):
    """A case of the source under another id among the target's."""
    for ending in ("t1", "t2"):
        rewrite(scan(made / "brats", of, ending), to=scan(root, subject, ending), descrip=b"another export")


def test_a_test_case_that_the_source_was_trained_on_is_refused_and_accepted_in_every_report(made, tmp_path, verb, says):
    root, splits = target(tmp_path)
    copied(made, root, SUBJECTS[0], "Brats18_OTHER_3")
    assert listed(verb, root, splits).code == 0
    answer = transferred(verb, root, made / "run", tmp_path / "run")
    assert (answer.code, (tmp_path / "run").exists()) == (2, False)
    texts = (
        "1 of 1 test",
        f"Brats18_OTHER_3 … T1 … train … {SUBJECTS[0]}",
        "--accept_overlap",
    )
    says(TOPIC, "a test case that the source was trained on, under another id", "transfer, study", answer, *texts)
    study = [
        "--source",
        made / "run",
        "--target",
        BRATS,
        "--dataset_dir",
        root,
        "--arms",
        "scratch,2",
        "--output",
        tmp_path / "study",
    ]
    answer = verb("study", "layers", *study, *FLAGS)
    assert (answer.code, (tmp_path / "study").exists()) == (2, False)
    mentions(answer.err, "1 of 1 test")

    answer = transferred(verb, root, made / "run", tmp_path / "run", "--accept_overlap", "true")
    assert answer.code == 0
    report = json.loads((tmp_path / "run" / "transfer_report.json").read_text())
    assert (report["overlap"]["accepted"], report["overlap"]["shared"]) == (True, 1)
    answer = verb("evaluate", "--run", tmp_path / "run")
    assert answer.code == 0
    said = "1 of the cases was used for training or validation before (accepted), so these scores are too high"
    mentions(answer.err + answer.out, said)
    says(TOPIC, "the same with --accept_overlap true", "evaluate, compare, report", verb("compare", tmp_path / "run"), said)
    assert verb("report", "--runs", tmp_path / "run").code == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert said in page
    assert "1 test case compared with 2 training and 1 validation case of 1 earlier run: 1 shared, accepted" in page


def test_what_was_compared_is_said_where_nothing_is_shared(made, tmp_path, verb, says):
    root, splits = target(tmp_path)
    assert listed(verb, root, splits).code == 0
    answer = transferred(verb, root, made / "run", tmp_path / "run")
    assert answer.code == 0
    message = "1 test case compared with 2 training and 1 validation case of 1 earlier run: none shared"
    says(TOPIC, "a source and a target that share no case", "transfer, study, evaluate", answer, message)
    assert message in json.loads((tmp_path / "run" / "transfer_report.json").read_text())["overlap"]["said"]


def test_a_case_of_the_sources_source_is_found(made, tmp_path, verb, says):
    """Along the lineage, and in a copy of the run folder, whose data is elsewhere."""
    root, splits = target(tmp_path)
    assert listed(verb, root, splits).code == 0
    assert transferred(verb, root, made / "run", tmp_path / "second").code == 0
    shutil.copytree(tmp_path / "second", tmp_path / "copy" / "models")
    third = write_brats(tmp_path / "third", [f"Brats18_THIRD_{n}" for n in range(3)], seed=80)
    copied(made, third, SUBJECTS[2], "Brats18_THIRD_2")
    splits = {name: [f"Brats18_THIRD_{n}"] for n, name in enumerate(SPLITS)}
    assert listed(verb, third, splits).code == 0
    answer = transferred(verb, third, tmp_path / "copy", tmp_path / "run")
    assert answer.code == 2
    texts = (f"Brats18_THIRD_2 … same T1 image … the validation case {SUBJECTS[2]} of '", "training or validation before")
    says(TOPIC, "a test case that the source's own source chose its weights by", "transfer, study", answer, *texts)


def test_persons_that_the_datalist_separates_are_not_one_to_evaluate(tmp_path, verb):
    """--person none says that these are different people; what was settled for training applies to scores."""
    root = tmp_path / "one"
    subjects = ["BraTS-GLI-00000-100", "BraTS-GLI-00001-100", "BraTS-GLI-00000-101"]
    for number, subject in enumerate(subjects):
        volumes = head(number)
        for role, ending in (("T1", "t1n"), ("T2", "t2w"), ("label", "seg")):
            write_image(root / subject / f"{subject}-{ending}.nii.gz", volumes[role])
    lists = {name: [subject] for name, subject in zip(SPLITS, subjects, strict=True)}
    coding = ("--foreground", "1", "--labels", "1,2,3")
    assert listed(verb, root, lists, *coding).code == 2
    assert listed(verb, root, lists, *coding, "--person", "none").code == 0
    assert trained(verb, root, tmp_path / "run").code == 0
    answer = verb("evaluate", "--run", tmp_path / "run")
    assert answer.code == 0, answer.err


def test_another_scan_of_a_training_cases_patient_is_refused(tmp_path, verb, says):
    """BraTS names a patient's scans …-100, …-101; a case that was prepared again keeps its id."""
    first = [f"BraTS-GLI-0000{n}-100" for n in range(3)]
    for root, subjects, seed in (
        (tmp_path / "one", first, 0),
        (tmp_path / "two", ["BraTS-GLI-00007-000", "BraTS-GLI-00008-000", "BraTS-GLI-00000-101"], 30),
    ):
        for number, subject in enumerate(subjects):
            volumes = head(seed + number)
            for role, ending in (("T1", "t1n"), ("T2", "t2w"), ("label", "seg")):
                write_image(root / subject / f"{subject}-{ending}.nii.gz", volumes[role])
        lists = {name: [subject] for name, subject in zip(SPLITS, subjects, strict=True)}
        assert listed(verb, root, lists, "--foreground", "1", "--labels", "1,2,3").code == 0
    assert trained(verb, tmp_path / "one", tmp_path / "source").code == 0
    answer = transferred(verb, tmp_path / "two", tmp_path / "source", tmp_path / "run")
    assert answer.code == 2
    message = "BraTS-GLI-00000-101 … images … train … BraTS-GLI-00000-100"
    says(TOPIC, "a later scan of a patient that the source was trained on", "transfer, study", answer, message)


def test_equal_numbers_of_other_images_are_said(tmp_path, verb, says):
    names = ["case_001", "case_002", "case_003"]
    for root, order, seed in ((tmp_path / "one", names, 0), (tmp_path / "two", names[::-1], 30)):
        write_brats(root, names, seed=seed)
        assert listed(verb, root, {name: [subject] for name, subject in zip(SPLITS, order, strict=True)}).code == 0
    assert trained(verb, tmp_path / "one", tmp_path / "source").code == 0
    answer = transferred(verb, tmp_path / "two", tmp_path / "source", tmp_path / "run")
    assert answer.code == 0
    message = "case_001: ids … other images"
    says(TOPIC, "numbers for ids in source and target, and other images", "transfer, study", answer, message)


def test_a_source_that_keeps_no_list_is_said_to(made, tmp_path, verb, says):
    shutil.copytree(made / "run", tmp_path / "foreign")
    (tmp_path / "foreign" / "data.json").unlink()
    root, splits = target(tmp_path)
    assert listed(verb, root, splits).code == 0
    answer = transferred(verb, root, tmp_path / "foreign", tmp_path / "run")
    assert answer.code == 0
    says(
        TOPIC,
        "a source from elsewhere, whose training cases nobody knows",
        "transfer, study, evaluate",
        answer,
        "has no list of its training cases",
    )
    answer = verb("evaluate", "--run", tmp_path / "run")
    assert "has no list of its training cases" in answer.err + answer.out


def test_the_runs_own_training_case_in_another_datalist_is_not_scored(made, tmp_path, verb, says):
    root, _ = target(tmp_path)
    copied(made, root, SUBJECTS[1], "Brats18_OTHER_2")
    assert listed(verb, root, {"train": ["Brats18_OTHER_1"], "test": ["Brats18_OTHER_2", "Brats18_OTHER_3"]}).code == 0
    answer = verb(
        "evaluate", "--run", made / "run", "--dataset_dir", root, "--scores", tmp_path / "s.csv", "--overlays", tmp_path / "o"
    )
    assert (answer.code, (tmp_path / "s.csv").exists()) == (2, False)
    message = f"Brats18_OTHER_2 … T1 … train … {SUBJECTS[1]}"
    says(TOPIC, "a datalist whose test case is the run's training case", "evaluate", answer, message)


def test_pseudonyms_hide_ids_and_not_an_overlap(made, tmp_path, verb):
    shutil.copytree(made / "brats", tmp_path / "brats")
    assert trained(verb, tmp_path / "brats", tmp_path / "source", "--anonymous", "true").code == 0
    kept = (tmp_path / "source" / "data.json").read_text()
    assert not [subject for subject in SUBJECTS if subject in kept]
    assert json.loads(kept)["ids"] == "keyed"
    answer = trained(verb, tmp_path / "brats", tmp_path / "source", "--anonymous", "true", "--resume", "true")
    assert answer.code == 0
    root, splits = target(tmp_path)
    copied(made, root, SUBJECTS[0], "Brats18_OTHER_3")
    assert listed(verb, root, splits).code == 0
    Path(tmp_path / "source.key").unlink()
    answer = transferred(verb, root, tmp_path / "source", tmp_path / "run")
    assert answer.code == 2
    mentions(answer.err, "Brats18_OTHER_3 … T1 … train … case_")
    rewrite(scan(tmp_path / "brats", SUBJECTS[1], "t2"), lambda voxels: voxels[::-1].copy())
    answer = trained(verb, tmp_path / "brats", tmp_path / "source", "--anonymous", "true", "--resume", "true")
    assert answer.code == 2
    assert f"T2 of {SUBJECTS[1]} (" in answer.err
