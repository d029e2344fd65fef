"""IXI as it is downloaded becomes the layout that datalists read; what is wrong is reported and stops no other subject."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_tl.datasets import ixi
from monai_tl.errors import ConfigError, DataError, PartlyDoneError, in_words, is_full_disk
from monai_tl.imaging.grids import itk
from monai_tl.phantoms.phantom_files import write_phantoms
from monai_tl.preparation import ixi_sources, prepare_ixi, prepare_subject, prepared_folder
from monai_tl.preparation.register import Registration
from monai_tl.preparation.similarity import Alignment
from monai_tl.storage.files import sha256_of
from monai_tl.storage.processes import Outcome
from tests.conftest import mentions

REAL = os.environ.get("MONAI_TL_REALDATA")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """Three heads; their labels in FreeSurfer's folders, on axes as FreeSurfer turns them."""
    folder = tmp_path_factory.mktemp("drawn") / "raw"
    write_phantoms(folder, subjects=3, brats_subjects=1, size=32)
    for path in (folder / "ixi" / "aseg").iterdir():
        mri = folder / "ixi" / "fs" / path.name.replace("-aseg.nii.gz", "") / "mri"
        mri.mkdir(parents=True)
        turned = nib.load(path).as_reoriented(np.array([[0, -1], [2, 1], [1, -1]]))
        nib.save(nib.MGHImage(np.asarray(turned.dataobj).astype(np.uint8), turned.affine), mri / "aseg.mgz")
        (mri / "orig.mgz").write_bytes(b"not a label")
    return folder / "ixi"


@pytest.fixture
def raw(drawn, tmp_path) -> Path:
    """A copy to spoil."""
    return shutil.copytree(drawn, tmp_path / "raw")


@pytest.fixture
def here(monkeypatch):
    """Work in this process and take T2 as it lies: registration and processes have tests of their own."""
    tried = []

    def in_turn(task, items, processes):
        for name, item in items.items():
            tried.append(name)
            try:
                outcome = Outcome(result=task(item))
            except Exception as error:
                outcome = Outcome(fault=in_words(error), full_disk=is_full_disk(error))
            yield name, outcome

    def as_it_lies(t1, t2):
        transform = itk().Euler3DTransform[itk().D].New()
        return Registration(np.asarray(t2.dataobj, np.float32), transform, Alignment(1.0, 1.0, 1.0))

    monkeypatch.setattr(prepared_folder, "run_each", in_turn)
    monkeypatch.setattr(prepare_subject, "register", as_it_lies)
    return tried


def run(raw: Path, output: Path, **settings) -> dict:
    places = {"t1": raw / "IXI-T1", "t2": raw / "IXI-T2", "labels": raw / "fs"} | {
        name: settings.pop(name) for name in ("t1", "t2", "labels") if name in settings
    }
    prepare_ixi.prepare_ixi_folder(
        *(str(places[name]) for name in ("t1", "t2", "labels")), str(output), processes=1, **settings
    )
    return read_record(output)


def read_record(output: Path) -> dict:
    return json.loads((output / "prepared.json").read_text(encoding="utf-8"))


def first(folder: Path, ending: str = "") -> Path:
    return sorted(folder.glob(f"*{ending}"))[0]


def name_of(path: Path) -> str:
    return path.name.split("-")[0]


def test_the_outcome_is_what_datalists_read(raw, tmp_path, here, capsys):
    record = run(raw, tmp_path / "out")
    cases = ixi.find_ixi_cases(tmp_path / "out")
    assert [case["subject"] for case in cases] == sorted(record["subjects"]) == here
    for case in cases:
        original = raw / "IXI-T1" / Path(case["T1"]).name
        assert Path(case["T1"]).read_bytes() == original.read_bytes()
        inputs = record["subjects"][case["subject"]]["inputs"]
        assert inputs["T1"]["sha256"] == sha256_of(original)
        assert inputs["label"]["file"].endswith("mri/aseg.mgz")
        label, truth = nib.load(case["label"]), nib.load(raw / "aseg" / Path(case["label"]).name)
        assert np.array_equal(np.asarray(label.dataobj), np.asarray(truth.dataobj))  # back from FreeSurfer's axes
        assert np.array_equal(label.affine, nib.load(original).affine)
        assert nib.load(case["T2"]).get_data_dtype() == np.int16  # as it came
        assert len(list((tmp_path / "out" / "transforms").glob(f"{case['subject']}-*-T2_to_T1.tfm"))) == 1
    assert set(record["versions"]) == {"monai_tl", "itk", "nibabel", "numpy", "scipy"}
    assert record["settings"]["coding"] == "freesurfer"
    out = capsys.readouterr().out
    mentions(out, "coding … (17, 53)")
    mentions(out, "3 … 0 … 0 … 0")
    mentions(out, f"monai_tl … --root {tmp_path / 'out'} --foreground 17,53")


def test_finished_subjects_are_skipped_and_changed_ones_prepared_again(raw, tmp_path, here, capsys):
    run(raw, tmp_path / "out")
    here.clear()
    run(raw, tmp_path / "out")
    assert here == []
    mentions(capsys.readouterr().out, "0 … 3 finished")
    changed = first(raw / "IXI-T2")
    image = nib.load(changed)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) + 1, image.affine), changed)
    lost = sorted((tmp_path / "out" / "aseg").iterdir())[1]
    lost.unlink()
    run(raw, tmp_path / "out")
    assert here == [name_of(changed), name_of(lost)]
    assert lost.is_file()


def test_nothing_old_stands_for_a_subject_that_now_fails(raw, tmp_path, here):
    run(raw, tmp_path / "out")
    spoiled = first(raw / "IXI-T2")
    spoiled.write_bytes(spoiled.read_bytes()[:200])
    with pytest.raises(PartlyDoneError, match=r"1 of 3 subjects failed:"):
        run(raw, tmp_path / "out")
    assert name_of(spoiled) not in read_record(tmp_path / "out")["subjects"]
    assert not list((tmp_path / "out").glob(f"*/{name_of(spoiled)}*"))


def test_archives_are_read_as_folders_are(raw, tmp_path, here):
    plain = run(raw, tmp_path / "plain")
    for name in ("IXI-T1", "IXI-T2", "fs"):
        with tarfile.open(raw / f"{name}.tar", "w") as archive:
            archive.add(raw / name, arcname="." if name == "IXI-T1" else name)
    packed = run(raw, tmp_path / "packed", **{role: raw / f"{name}.tar" for role, name in
                 (("t1", "IXI-T1"), ("t2", "IXI-T2"), ("labels", "fs"))})  # fmt: skip
    for subject, record in plain["subjects"].items():
        other = packed["subjects"][subject]["inputs"]
        assert {role: entry["sha256"] for role, entry in record["inputs"].items()} == {
            role: entry["sha256"] for role, entry in other.items()
        }
        assert other["T1"]["file"].startswith(f"{raw}/IXI-T1.tar/")
    for path in (tmp_path / "plain" / "aseg").iterdir():
        assert path.read_bytes() == (tmp_path / "packed" / "aseg" / path.name).read_bytes()
    assert not list((tmp_path / "packed").glob(".*"))


def test_an_archive_cut_short_fails_by_subject(raw, tmp_path, here):
    with tarfile.open(raw / "t2.tar", "w") as archive:
        archive.add(raw / "IXI-T2", arcname="IXI-T2")
    whole = (raw / "t2.tar").read_bytes()
    with tarfile.open(raw / "t2.tar") as archive:
        last = max(archive, key=lambda member: member.offset)
    (raw / "t2.tar").write_bytes(whole[: last.offset_data + last.size // 2])
    with pytest.raises((DataError, PartlyDoneError), match=r"\d+ bytes|\.tar"):
        run(raw, tmp_path / "out", t2=raw / "t2.tar")


def spoil_truncated(raw):
    path = first(raw / "IXI-T2")
    path.write_bytes(path.read_bytes()[:2000])
    return path, "T2 is not readable (Compressed file ended before the end-of-stream marker was reached)"


def spoil_empty(raw):
    path = first(raw / "IXI-T1")
    path.write_bytes(b"")
    return path, "T1 is not readable (Empty file: "


def spoil_label(raw):
    path = first(raw / "fs") / "mri" / "aseg.mgz"
    path.write_bytes(path.read_bytes()[:300])
    return path.parents[1], "label is not readable"


def spoil_coding(raw):
    path = first(raw / "fs") / "mri" / "aseg.mgz"
    image = nib.load(path)
    values = np.asarray(image.dataobj)
    nib.save(nib.MGHImage(np.where(values == 53, 0, values).astype(np.uint8), image.affine), path)
    return path.parents[1], "its label has no 53 (freesurfer), only 0, 2, 3"


def spoil_series(raw):
    path = first(raw / "IXI-T2")
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.stack([np.asarray(image.dataobj)] * 2, -1), image.affine), path)
    return path, "T2 is not 3D (shape 32×32×32×2)"


@pytest.mark.parametrize("spoil", [spoil_truncated, spoil_empty, spoil_label, spoil_coding, spoil_series])
def test_a_damaged_file_fails_its_subject_alone(raw, tmp_path, here, spoil):
    path, text = spoil(raw)
    with pytest.raises(PartlyDoneError, match=r"1 of 3 subjects failed:") as failure:
        run(raw, tmp_path / "out", coding="freesurfer")
    assert f"{name_of(path)}: " in str(failure.value)
    mentions(str(failure.value), text)
    record = read_record(tmp_path / "out")
    assert text in record["failed"][name_of(path)]
    assert len(record["subjects"]) == len(ixi.find_ixi_cases(tmp_path / "out")) == 2
    assert not list((tmp_path / "out").rglob(".*")), "something half written was left"


def test_labels_of_another_head_are_seen_by_their_volume(raw, tmp_path, here, monkeypatch):
    monkeypatch.setattr(prepare_subject, "SMALL", 10)
    path = first(raw / "fs") / "mri" / "aseg.mgz"
    image = nib.load(path)
    affine = image.affine.copy()
    affine[:3, 3] += 18
    nib.save(nib.MGHImage(np.asarray(image.dataobj), affine), path)
    with pytest.raises(PartlyDoneError, match=r"label 17 .*0\.\d+.*T1's grid"):
        run(raw, tmp_path / "out")


def test_no_subject_that_can_be_prepared_is_refused(raw, tmp_path, here):
    for path in (raw / "IXI-T1").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"none.*3 subjects.*prepared:\n  IXI\d+: T1.*readable"):
        run(raw, tmp_path / "out")


def test_incomplete_subjects_are_refused_or_left_out_and_listed(raw, tmp_path, here, capsys):
    lost = first(raw / "IXI-T2")
    lost.unlink()
    with pytest.raises(DataError, match=rf"1 of 3 subjects.*incomplete.*leave_out:\n  {name_of(lost)} lacks T2"):
        run(raw, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    record = run(raw, tmp_path / "out", incomplete="leave_out")
    assert record["left_out"] == {name_of(lost): "lacks T2"}
    mentions(capsys.readouterr().out, f"out:\n  {name_of(lost)} lacks T2")


def test_two_files_for_one_id_and_other_people_of_one_number(raw, tmp_path, here):
    t1, t2 = first(raw / "IXI-T1"), sorted((raw / "IXI-T2").iterdir())[1]
    shutil.copy(t1, t1.with_name(f"{name_of(t1)}-Guys-9999-T1.nii.gz"))
    t2.rename(t2.with_name(f"{name_of(t2)}-Guys-9999-T2.nii.gz"))
    with pytest.raises(DataError, match=rf"{name_of(t1)}.*2 files.*T1"):
        run(raw, tmp_path / "out")
    record = run(raw, tmp_path / "out", incomplete="leave_out")
    assert "has 2 files for T1" in record["left_out"][name_of(t1)]
    assert f"names different people (T1 {name_of(t2)}-" in record["left_out"][name_of(t2)]
    assert len(record["subjects"]) == 1
    t1.unlink()
    shutil.move(t1.with_name(f"{name_of(t1)}-Guys-9999-T1.nii.gz"), t1)
    with pytest.raises(DataError, match=rf"{name_of(t2)}.*different.*\(T1.*-Guys-9999, label"):
        run(raw, tmp_path / "out2")


def test_flat_labels_and_the_other_coding(raw, tmp_path, here, capsys):
    flat = raw / "flat"
    flat.mkdir()
    for path in (raw / "aseg").iterdir():
        image = nib.load(path)
        values = np.asarray(image.dataobj)
        coded = np.select([values == 17, values == 53, values == 47], [48, 47, 38], values)
        nib.save(
            nib.Nifti1Image(coded.astype(np.float32), image.affine), flat / path.name.replace("-aseg", "_T1_DLMUSE")
        )  # whole numbers as floats
    record = run(raw, tmp_path / "out", labels=flat)
    assert record["settings"]["coding"] == "dlmuse"
    assert "--foreground 47,48" in capsys.readouterr().out
    assert nib.load(first(tmp_path / "out" / "aseg")).get_data_dtype() == np.int16


def test_a_coding_that_cannot_be_determined_is_asked_for(raw, tmp_path, here):
    for path in (raw / "fs").glob("*/mri/aseg.mgz"):
        image = nib.load(path)
        values = np.asarray(image.dataobj).copy()
        values[values == 53] = 0
        nib.save(nib.MGHImage(values, image.affine), path)
    with pytest.raises(DataError, match=r"coding.*neither: 0, 2, 3.*--coding freesurfer\|dlmuse"):
        run(raw, tmp_path / "out")
    for path in (raw / "fs").glob("*/mri/aseg.mgz"):
        image = nib.load(path)
        values = np.asarray(image.dataobj).copy()
        values.flat[:3] = (48, 53, 47)
        nib.save(nib.MGHImage(values, image.affine), path)
    with pytest.raises(DataError, match="both: 0, 2"):
        run(raw, tmp_path / "out")
    with pytest.raises(ConfigError, match="unknown coding 'fresurfer'.*'freesurfer'"):
        run(raw, tmp_path / "out", coding="fresurfer")
    assert not (tmp_path / "out").exists()


def test_places_that_cannot_be_used(raw, tmp_path, here, monkeypatch):
    with pytest.raises(DataError, match=r"nowhere.*T2.*\.tar.*IXI012-HH"):
        run(raw, tmp_path / "out", t2=raw / "nowhere")
    with pytest.raises(DataError, match=r"T2.*IXI012-HH-1211-T2.nii.gz.*IXI\d+"):
        run(raw, tmp_path / "out", t2=raw / "IXI-T1")
    with pytest.raises(DataError, match=r"not a readable \.tar"):
        run(raw, tmp_path / "out", t2=first(raw / "IXI-T2"))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").touch()
    with pytest.raises(ConfigError, match="taken' contains something other"):
        run(raw, tmp_path / "taken")

    def closed(self):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", closed)
    with pytest.raises(DataError, match=r"IXI-T1.*\(Permission denied\)"):
        run(raw, tmp_path / "out")


def test_other_settings_are_never_mixed_into_one_folder(raw, tmp_path, here):
    run(raw, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"\(coding was freesurfer, is dlmuse\)"):
        run(raw, tmp_path / "out", coding="dlmuse")
    (tmp_path / "out" / "prepared.json").write_text("{")
    with pytest.raises(DataError, match=r"prepared\.json.*damaged"):
        run(raw, tmp_path / "out")


DAMAGE = {
    "no object": lambda subjects, name: subjects.update({name: "done"}),
    "no stem": lambda subjects, name: subjects[name].pop("stem"),
    "no inputs": lambda subjects, name: subjects[name].pop("inputs"),
    "no hash": lambda subjects, name: subjects[name]["inputs"]["T2"].pop("sha256"),
    "inputs of another kind": lambda subjects, name: subjects[name].update(inputs=["T1", "T2"]),
    "a number as stem": lambda subjects, name: subjects[name].update(stem=3),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_entry_of_a_subject_is_named(raw, tmp_path, here, damage):
    subject = next(iter(run(raw, tmp_path / "out")["subjects"]))
    path = tmp_path / "out" / "prepared.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    damage(record["subjects"], subject)
    path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(DataError, match=rf"prepared\.json.*damaged.*{subject}.*another output"):
        run(raw, tmp_path / "out")
    with pytest.raises(DataError, match="damaged"):
        prepared_folder.read_prepared(tmp_path / "out")


def test_a_full_disk_stops_all_and_leaves_nothing_half_written(raw, tmp_path, here, monkeypatch):
    def full(image, path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(prepare_subject.nib, "save", full)
    with pytest.raises(OSError, match="no space left"):
        run(raw, tmp_path / "out")
    assert len(here) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["prepared.json"]


def test_what_has_no_id_is_named(raw, tmp_path, here, capsys):
    (raw / "IXI-T1" / "notes.txt").touch()
    (raw / "IXI-T1" / ".DS_Store").touch()
    run(raw, tmp_path / "out")
    mentions(capsys.readouterr().out, f"1 files … IXI … {raw}/IXI-T1/notes.txt")


def test_the_first_label_of_a_subject_folder_is_taken(raw):
    folder = first(raw / "fs") / "mri"
    shutil.copy(folder / "aseg.mgz", folder / "aparc+aseg.mgz")
    found = ixi_sources.find_people(str(raw / "IXI-T1"), str(raw / "IXI-T2"), str(raw / "fs"))
    assert {Path(person.sources["label"].path).name for person in found.complete} == {"aseg.mgz"}
    (folder / "aseg.mgz").unlink()
    found = ixi_sources.find_people(str(raw / "IXI-T1"), str(raw / "IXI-T2"), str(raw / "fs"))
    assert Path(found.complete[0].sources["label"].path).name == "aparc+aseg.mgz"


def command(raw: Path, output: Path) -> list[str]:
    words = ["prepare", "ixi", "--t1", raw / "IXI-T1", "--t2", raw / "IXI-T2", "--labels", raw / "fs", "--output", output]
    return [sys.executable, "-m", "monai_tl", *map(str, words), "--processes", "1"]


@pytest.mark.slow
def test_a_kill_loses_the_subject_in_flight_and_a_repetition_does_the_rest(raw, tmp_path):
    """Killed as a cluster kills (SIGKILL) after the first subject; registration and processes are real here."""
    output = tmp_path / "out"
    going = subprocess.Popen(command(raw, output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    began = time.monotonic()
    while not ((output / "prepared.json").is_file() and read_record(output)["subjects"]):
        assert going.poll() is None
        assert time.monotonic() - began < 300
        time.sleep(0.1)
    time.sleep(1)  # the second is in flight
    going.send_signal(signal.SIGKILL)
    going.wait()
    done = sorted(read_record(output)["subjects"])
    assert 1 <= len(done) <= 2
    stamps = {path: path.stat().st_mtime_ns for path in (output / "IXI-T2").glob(f"{done[0]}*")}
    assert stamps
    answer = subprocess.run(command(raw, output), capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    mentions(answer.stdout, f"{3 - len(done)} … {len(done)} finished … 0 failed")
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    assert len(ixi.find_ixi_cases(output)) == 3
    assert not list(output.glob(".*"))


def test_a_kill_at_any_moment_is_made_good_by_a_repetition(raw, tmp_path, here):
    """A process that is gone between any two things it does to the disk, as SIGKILL leaves it: nothing is tidied up."""
    run(raw, tmp_path / "whole")
    whole = contents(tmp_path / "whole")
    moments = killed(raw, tmp_path / "counted", -1)
    assert moments > 40
    for moment in range(3, moments, 13):
        output = tmp_path / f"killed_{moment}"
        assert killed(raw, output, moment) == 0
        before = len(read_record(output)["subjects"]) if (output / "prepared.json").is_file() else 0
        here.clear()
        run(raw, output)
        assert len(here) == 3 - before, "subjects recorded as finished are not prepared again"
        assert contents(output) == whole, f"killed at {moment} of {moments}"


def contents(folder: Path) -> dict:
    """Contents of every file; of prepared.json what does not depend on time and place."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    record = json.loads(files.pop("prepared.json"))
    for subject in record["subjects"].values():
        del subject["seconds"]
    return files | {"subjects": record["subjects"], "settings": record["settings"]}


def killed(raw: Path, output: Path, moment: int) -> int:
    """Prepare in a process that ends at so many changes below the output; gives how many there were if it did not end."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        count = 0

        def hook(event, arguments):
            nonlocal count
            if event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.copyfile", "open") and any(
                str(output) in str(argument) for argument in arguments[:2]
            ):
                count += 1
                if count == moment:
                    os._exit(9)

        sys.addaudithook(hook)
        run(raw, output)
        os.write(writing, str(count).encode())
        os._exit(0)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading) as answer:
        return int(answer.read() or 0) if os.waitstatus_to_exitcode(status) == 0 else 0


@pytest.mark.realdata
@pytest.mark.skipif(REAL is None, reason="MONAI_TL_REALDATA is not set")
def test_real_labels_are_found_and_their_coding_is_recognised(capsys):
    folder = Path(REAL) / "ixi_2mm"
    with pytest.raises(DataError, match="T2.*dlmuse_seg.*IXI012-HH-1211-T2"):
        ixi_sources.find_people(str(folder / "t1"), str(folder / "dlmuse_seg"), str(folder / "dlmuse_seg"))
