"""A DICOM Segmentation says, voxel for voxel, what the NIfTI says, and belongs to patient, study and slices of its scan."""

from __future__ import annotations

import logging
import shutil
import sys

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from pydicom.uid import SegmentationStorage

import monai_tl
from monai_tl.datasets.datalist import read_datalist
from monai_tl.errors import ConfigError, DataError, PartlyDoneError
from monai_tl.imaging.scan_files import files_of
from monai_tl.inference.dicom_seg import Origin, codes_of, write_dicom_seg
from monai_tl.inference.model import find_model
from monai_tl.inference.predict import predict_cases
from monai_tl.workflow.task_file import DicomCode, SegmentCodes, TaskFile, read_task_file
from tests.conftest import BRATS, IXI, mentions
from tests.dicom import write_series

SHAPE = (6, 7, 8)
PATTERNS = {name: f"{{subject}}/{name}" for name in ("T1", "T2")}
OBLIQUE = np.array([[0.866, -0.35, 0.357], [0.25, 0.927, 0.279], [-0.429, -0.152, 0.89]])  # nearly a turn; made one below


def oblique(spacing):
    turn, _, other = np.linalg.svd(OBLIQUE)
    return nib.affines.from_matvec(turn @ other @ np.diag(spacing), [12.5, -34.25, 56.75])


# right-handed in voxels (i, j, k), as slices along their normal are: axial, sagittal, coronal, oblique
GRIDS = {
    "axial": nib.affines.from_matvec(np.diag([-0.9, -1.1, 2.5]), [50, 60, -70]),
    "sagittal": nib.affines.from_matvec(np.array([[0, 0, 2.5], [-0.9, 0, 0], [0, -1.1, 0]]), [10, 20, 30]),
    "coronal": nib.affines.from_matvec(np.array([[-0.9, 0, 0], [0, 0, 2.5], [0, -1.1, 0]]) @ np.diag([-1, 1, 1]), [10, 20, 30]),
    "oblique": oblique((0.9, 1.1, 2.5)),
}


def in_the_world(path, segment=1):
    """Voxels of a segment as points (x, y, z) in LPS mm, from each frame's own position: as any viewer places them."""
    found = pydicom.dcmread(path)
    shared = found.SharedFunctionalGroupsSequence[0]
    between_rows, between_columns = shared.PixelMeasuresSequence[0].PixelSpacing
    row, column = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    points = []
    for frame, groups in zip(np.atleast_3d(found.pixel_array), found.PerFrameFunctionalGroupsSequence, strict=True):
        own = groups if "SegmentIdentificationSequence" in groups else shared
        if own.SegmentIdentificationSequence[0].ReferencedSegmentNumber == segment:
            corner = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
            for at_row, at_column in np.argwhere(frame):
                points.append(corner + at_column * between_columns * row + at_row * between_rows * column)
    return np.array(points).reshape(-1, 3)


def of_nifti(mask, affine):
    return nib.affines.apply_affine(np.diag([-1.0, -1, 1, 1]) @ affine, np.argwhere(mask))


def same_points(one, other):
    def ordered(points):
        return points[np.lexsort(np.round(points, 2).T)]

    return one.shape == other.shape and np.allclose(ordered(one), ordered(other), atol=1e-3)


SPACE = DicomCode("SCT", "309825002", "Spatial and Relational Concept")
CODES = {**read_task_file(IXI).dicom_codes, **read_task_file(BRATS).dicom_codes}
CODES["отёк"] = SegmentCodes(SPACE, DicomCode("99OWN", "ОТЁК", "отёк"))


def origin(tmp_path, *classes):
    return Origin({name: CODES[name] for name in classes or ("hippocampus",)}, tmp_path / "freeze_2" / "model.pt", "ab" * 32)


def blob(seed=0):
    """Three voxels of a hundred, none in the first and last slice: nothing that a flip or a turn would leave as it is."""
    mask = np.random.default_rng(seed).random((1, *SHAPE)) > 0.97
    mask[..., [0, -1]] = False
    mask[0, 1, 4, 2] = True
    return mask


@pytest.mark.parametrize("name", GRIDS)
def test_every_voxel_lies_where_it_lay(tmp_path, name):
    assert np.linalg.det(GRIDS[name][:3, :3]) > 0
    write_series(tmp_path / "T1", np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(np.int16), GRIDS[name])
    write_dicom_seg(tmp_path / "ann_seg.dcm", str(tmp_path / "T1"), blob(), origin(tmp_path))
    assert same_points(in_the_world(tmp_path / "ann_seg.dcm"), of_nifti(blob()[0], GRIDS[name]))
    assert len(in_the_world(tmp_path / "ann_seg.dcm")) == blob().sum() >= 5
    volume = highdicom.seg.segread(tmp_path / "ann_seg.dcm").get_volume(combine_segments=True)
    assert np.allclose(volume.spacing, [2.5, 1.1, 0.9], atol=1e-5), (
        "between slices, rows and columns, gaps of empty slices or not"
    )


def test_patient_study_frame_of_reference_and_slices_are_those_of_the_series(tmp_path):
    tags = {"PatientName": "Müller^Zoë", "SpecificCharacterSet": "ISO_IR 100", "PatientID": "P-18"}
    write_series(tmp_path / "scans", np.zeros(SHAPE, np.int16), GRIDS["oblique"], **tags)
    for path in list((tmp_path / "scans").iterdir()):
        path.rename(path.with_name(f"a{path.name}"))
    write_series(tmp_path / "scans", np.zeros(SHAPE, np.int16), GRIDS["oblique"], SeriesDescription="T2")
    scan = f"{tmp_path}/scans#T1*"
    write_dicom_seg(tmp_path / "seg.dcm", scan, blob(), origin(tmp_path))
    found, sources = pydicom.dcmread(tmp_path / "seg.dcm"), [pydicom.dcmread(file) for file in files_of(scan)]
    assert (found.SOPClassUID, found.Modality, found.SegmentationType) == (SegmentationStorage, "SEG", "BINARY")
    for tag in ("PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "AccessionNumber"):
        assert found[tag].value == sources[0][tag].value, tag
    assert (found.PatientID, str(found.PatientName)) == ("P-18", "Müller^Zoë")
    assert found.FrameOfReferenceUID == sources[0].FrameOfReferenceUID
    assert found.SeriesInstanceUID != sources[0].SeriesInstanceUID
    (series,) = found.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == sources[0].SeriesInstanceUID
    referenced = {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence}
    assert referenced == {source.SOPInstanceUID for source in sources}
    by_uid = {source.SOPInstanceUID: source for source in sources}
    for frame in found.PerFrameFunctionalGroupsSequence:
        (used,) = frame.DerivationImageSequence[0].SourceImageSequence
        place = frame.PlanePositionSequence[0].ImagePositionPatient
        assert np.allclose(by_uid[used.ReferencedSOPInstanceUID].ImagePositionPatient, place, atol=1e-4)


def test_segments_name_the_classes_and_what_found_them(tmp_path):
    write_series(tmp_path / "T1", np.zeros(SHAPE, np.int16), GRIDS["axial"])
    masks = np.concatenate([blob(0), blob(1), blob(2)])  # they may overlap
    assert (masks.sum(axis=0) > 1).any()
    origins = origin(tmp_path, "hippocampus", "tumour core", "отёк")
    write_dicom_seg(tmp_path / "seg.dcm", str(tmp_path / "T1"), masks, origins)
    found = pydicom.dcmread(tmp_path / "seg.dcm")
    kinds = [
        (item.SegmentNumber, item.SegmentLabel, code.CodingSchemeDesignator, code.CodeValue)
        for item in found.SegmentSequence
        for code in item.SegmentedPropertyTypeCodeSequence
    ]
    assert kinds == [
        (1, "hippocampus", "SCT", "5366008"),
        (2, "tumour core", "SCT", "108369006"),
        (3, "отёк", "99OWN", "ОТЁК"),
    ]
    categories = [item.SegmentedPropertyCategoryCodeSequence[0].CodeValue for item in found.SegmentSequence]
    assert categories == ["91723000", "49755003", "309825002"]
    for item in found.SegmentSequence:
        (algorithm,) = item.SegmentationAlgorithmIdentificationSequence
        assert item.SegmentAlgorithmType == "AUTOMATIC"
        assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("monai_tl", monai_tl.__version__)
        assert algorithm.AlgorithmSource == "freeze_2/model.pt"
        assert algorithm.AlgorithmParameters == f"weights_sha256={'ab' * 32}"
    for number, mask in enumerate(masks, start=1):
        assert same_points(in_the_world(tmp_path / "seg.dcm", number), of_nifti(mask, GRIDS["axial"]))


def test_an_empty_segmentation_is_valid_and_holds_every_slice(tmp_path, caplog):
    write_series(tmp_path / "T1", np.zeros(SHAPE, np.int16), GRIDS["axial"])
    write_dicom_seg(tmp_path / "seg.dcm", str(tmp_path / "T1"), np.zeros((1, *SHAPE)), origin(tmp_path))
    found = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert (found.NumberOfFrames, found.pixel_array.max(), len(found.SegmentSequence)) == (SHAPE[2], 0, 1)
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert not warnings, "nothing that a user could do anything about"


def change(folder, remove=(), **tags):
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        for tag in remove:
            delattr(data, tag)
        for tag, value in tags.items():
            setattr(data, tag, value)
        data.save_as(path)


def test_headers_that_lack_something(tmp_path, capfd):
    write_series(tmp_path / "T1", np.zeros(SHAPE, np.int16), GRIDS["axial"])
    scan, output = str(tmp_path / "T1"), tmp_path / "seg.dcm"
    change(tmp_path / "T1", SpacingBetweenSlices=99)
    write_dicom_seg(output, scan, blob(), origin(tmp_path))
    assert highdicom.seg.segread(output).get_volume(combine_segments=True).spacing[0] == pytest.approx(2.5)
    change(tmp_path / "T1", ("PatientBirthDate", "AccessionNumber", "StudyID", "SliceThickness"), PatientName="ANON")
    write_dicom_seg(output, scan, blob(), origin(tmp_path))
    assert (pydicom.dcmread(output).PatientID, pydicom.dcmread(output).PatientBirthDate) == ("P-17", "")
    assert capfd.readouterr() == ("", "")
    output.unlink()
    change(tmp_path / "T1", ("FrameOfReferenceUID",))
    with pytest.raises(DataError, match="T1.*FrameOfReferenceUID.*--dicom_seg"):
        write_dicom_seg(output, scan, blob(), origin(tmp_path))
    with pytest.raises(DataError, match=r"shape \(1, 7, 6, 8\).*\(1, 6, 7, 8\).*1 classes.*T1"):
        write_dicom_seg(output, scan, blob().transpose(0, 2, 1, 3), origin(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["T1"]


@pytest.fixture
def scans(phantoms, tmp_path):
    """Folders ``ann`` and ``bob``, each with a head's ``T1`` and ``T2`` as DICOM series on an oblique grid."""
    case = read_datalist(phantoms / "brats" / "datalist.json").cases[0]
    affine = GRIDS["oblique"] @ np.diag([1 / 0.9, 1 / 1.1, 1 / 2.5, 1])
    for seed, subject in enumerate(("ann", "bob")):
        for name in ("T1", "T2"):
            voxels = np.rint(nib.as_closest_canonical(nib.load(case[name])).get_fdata()).astype(np.int16)
            write_series(tmp_path / "scans" / subject / name, voxels[2:, :, 3:], affine, seed=seed, PatientID=subject)
    return tmp_path / "scans"


def words(bundle, scans, output, *flags, patterns=PATTERNS):
    options = [f"--{name}={pattern}" for name, pattern in patterns.items()]
    return ("predict", "--bundle", bundle, "--input", scans, "--output", output, *options, *flags)


def test_predict_writes_what_the_nifti_holds_and_adds_what_is_missing(scans, smoother, tmp_path, verb):
    out = tmp_path / "out"
    assert verb(*words(smoother, scans, out)).code == 0
    assert not list(out.glob("*.dcm"))
    answer = verb(*words(smoother, scans, out, "--dicom_seg"))
    assert (answer.code, "finished already" in answer.out) == (0, False), answer.err
    for subject in ("ann", "bob"):
        nifti, path = nib.load(out / f"{subject}_seg.nii.gz"), out / f"{subject}_seg.dcm"
        assert 0.03 < np.asanyarray(nifti.dataobj).mean() < 0.9
        assert same_points(in_the_world(path), of_nifti(np.asanyarray(nifti.dataobj), nifti.affine))
        found, source = pydicom.dcmread(path), pydicom.dcmread(files_of(scans / subject / "T1")[0])
        assert (found.PatientID, found.StudyInstanceUID) == (subject, source.StudyInstanceUID)
        assert found.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
        assert [item.SegmentLabel for item in found.SegmentSequence] == ["hippocampus"]
    times = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    mentions(verb(*words(smoother, scans, out, "--dicom_seg")).out, "2 of 2 cases … finished")
    (out / "bob_seg.dcm").unlink()
    answer = verb(*words(smoother, scans, out, "--dicom_seg"))
    mentions(answer.out, "1 of 2 cases … finished")
    assert (out / "ann_seg.dcm").stat().st_mtime_ns == times["ann_seg.dcm"]
    assert (out / "bob_seg.dcm").is_file()


def test_a_segmentation_of_a_scan_that_has_changed_since_is_not_left(scans, smoother, tmp_path):
    out = tmp_path / "out"
    predict_cases(find_model(str(smoother)), str(scans), out, patterns=PATTERNS, dicom_seg=True, probabilities=True)
    change(scans / "ann" / "T1", SeriesDescription="mended")
    predict_cases(find_model(str(smoother)), str(scans), out, patterns=PATTERNS, probabilities=True)
    assert sorted(path.name for path in out.glob("*_*")) == [
        *("ann_probability.nii.gz", "ann_seg.nii.gz"),
        *("bob_probability.nii.gz", "bob_seg.dcm", "bob_seg.nii.gz"),
    ]


def test_what_is_not_dicom_is_said_before_anything_is_done(scans, smoother, tmp_path, verb):
    for name in ("T1", "T2"):
        nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.int16), np.eye(4)), scans / f"eve_{name}.nii.gz")
    patterns = {name: f"{{subject}}_{name}.nii.gz" for name in ("T1", "T2")}
    answer = verb(*words(smoother, scans, tmp_path / "out", "--dicom_seg", patterns=patterns))
    assert answer.code == 2
    message = "--dicom_seg … T1 … DICOM … 1 of 1 cases … (eve) … --dicom_seg"
    mentions(answer.err, message)
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_class_without_a_code_is_refused_with_what_to_add(scans, smoother, tmp_path, verb):
    bundle = tmp_path / "bundle"
    shutil.copytree(IXI, bundle, ignore=shutil.ignore_patterns("models", "eval"))
    (bundle / "task.yaml").write_text("dicom_codes: {}")
    answer = verb(*words(smoother, scans, tmp_path / "out", "--dicom_seg", "--bundle_root", bundle))
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    for fact in (str(bundle / "task.yaml"), "none for hippocampus", "dicom_codes", '"hippocampus": {category: [SCT, '):
        assert fact in answer.err
    assert not (tmp_path / "out").exists()
    added = answer.err.split("as in ")[1].split(" (DICOM")[0]
    (bundle / "task.yaml").write_text(f"dicom_codes:\n  {added}\n")
    assert read_task_file(bundle).dicom_codes == read_task_file(IXI).dicom_codes, "what is said can be copied"


def test_codes_are_of_the_foreground_classes_in_their_order():
    task = TaskFile(IXI / "task.yaml", CODES)
    assert list(codes_of(["tumour core", "hippocampus"], task)) == ["tumour core", "hippocampus"]
    with pytest.raises(ConfigError, match="task.yaml.*none.*cyst, oedema.*hippocampus"):
        codes_of(["cyst", "hippocampus", "oedema"], task)


def test_without_highdicom_it_is_said_how_to_get_it(scans, smoother, tmp_path, verb, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    answer = verb(*words(smoother, scans, tmp_path / "out", "--dicom_seg"))
    assert answer.code == 2
    assert answer.err.startswith("monai_tl: --dicom_seg needs highdicom, which cannot be imported")
    mentions(answer.err, "monai_tl[dicom]")
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert verb(*words(smoother, scans, tmp_path / "out", "--subjects", "ann")).code == 0, "not needed for NIfTI"


def test_one_that_fails_does_not_stop_the_others(scans, smoother, tmp_path, verb):
    change(scans / "ann" / "T1", ("FrameOfReferenceUID",))
    with pytest.raises(PartlyDoneError, match=r"1 of 2 cases[\s\S]*ann[\s\S]*FrameOfReferenceUID"):
        predict_cases(find_model(str(smoother)), str(scans), tmp_path / "out", patterns=PATTERNS, dicom_seg=True)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.dcm")) == ["bob_seg.dcm"]
    assert (tmp_path / "out" / "predictions.csv").read_text().count("\n") == 2


def test_an_empty_prediction_is_reported(scans, smoother, tmp_path, verb):
    deaf = tmp_path / "deaf"
    deaf.mkdir()
    for name in ("metadata.json", "config.yaml"):
        (deaf / name).write_bytes((smoother / name).read_bytes())
    weights = torch.load(smoother / "model.pt", weights_only=True)
    torch.save({"weight": weights["weight"], "bias": torch.tensor([0.0, -1e6])}, deaf / "model.pt")
    answer = verb(*words(deaf, scans, tmp_path / "out", "--dicom_seg"))
    assert answer.code == 0, answer.err
    message = "nothing … 2 of … ann, bob … DICOM … empty"
    mentions(answer.out, message)
    assert pydicom.dcmread(tmp_path / "out" / "ann_seg.dcm").pixel_array.max() == 0
