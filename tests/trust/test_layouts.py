"""Labels that mean something else in another track, one person in two splits, ids and tables in other encodings."""

from __future__ import annotations

import csv
import json
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import mentions
from tests.trust.conftest import head, write_brats, write_image

TOPIC = "Labels and layouts"
SHAPE = (12, 12, 12)


def composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def track_of(root: Path, subjects: dict[str, tuple[int, ...]], suffixes=("t1n", "t2w", "seg"), sign="-") -> Path:
    """Subjects as BraTS names them from 2023 on; value v of a label fills 10·v voxels."""
    for number, (subject, values) in enumerate(subjects.items()):
        volumes = head(number, SHAPE)
        label = np.zeros(SHAPE, np.uint8)
        label.flat[400 : 400 + 10 * sum(values)] = np.repeat(values, [10 * value for value in values])
        for role, ending in zip(("T1", "T2", "label"), suffixes, strict=True):
            write_image(root / subject / f"{subject}{sign}{ending}.nii.gz", label if role == "label" else volumes[role])
    return root


def flat(root: Path, subjects, labels=None) -> list[str]:
    """T1 and label side by side, and the flags that find them."""
    for number, subject in enumerate(subjects):
        volumes = head(number, SHAPE)
        write_image(root / f"{subject}_T1.nii.gz", volumes["T1"])
        write_image(root / f"{(labels or subjects)[number]}_seg.nii.gz", volumes["label"])
    patterns = ["--T1", f"{root}/{{subject}}_T1.nii.gz", "--label", f"{root}/{{subject}}_seg.nii.gz"]
    return ["datalist", "files", *patterns, "--foreground", "1", "--split", "0.5,0.25,0.25"]


def content(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def splits_of(path: Path) -> dict[str, str]:
    return {subject: name for name, subjects in content(path)["splits"].items() for subject in subjects}


# tracks


@pytest.mark.parametrize(
    ("kind", "values", "track", "core"),
    [
        ("PED", (1, 2, 3, 4), "peds2024", [1, 2, 3]),
        ("GLI", (1, 2, 3), "gli2023", [1, 3]),
        ("GLI", (1, 2, 3, 4), "gli2024", [1, 3]),
        ("MET", (1, 2, 3), "met2023", [1, 3]),
        ("MET", (1, 2, 3, 4), "met2025", [1, 3]),
        ("MEN", (1, 2, 3), "men2023", [1, 3]),
        ("SSA", (1, 2, 3), "ssa2023", [1, 3]),
        ("GoAT", (1, 2, 3), "goat2024", [1, 3]),
    ],
)
def test_the_core_of_each_track_is_its_own(tmp_path, verb, says, kind, values, track, core):
    root = track_of(tmp_path / "data", {f"BraTS-{kind}-{n:05}-000": values for n in range(4)})
    answer = verb("datalist", "brats", "--root", root, "--split", "0.5,0.25,0.25")
    assert answer.code == 0, answer.err
    data = content(root / "datalist.json")
    assert (data["regions"]["foreground"], data["labels"], data["track"]["name"]) == (core, list(values), track)
    texts = (f"label … {','.join(map(str, core))}", f"BraTS track {track} (")
    if kind == "PED":
        says(TOPIC, "children's tumours of 2024, where 1, 2 and 3 are the core", "datalist, check", answer, *texts)
    answer = verb("check", root, "--output", tmp_path / "qc")
    assert f"BraTS track {track} (" in answer.out
    with (tmp_path / "qc" / "qc.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    volume = sum(10 * value for value in core) / 1000
    assert [float(row["foreground_ml"]) for row in rows] == pytest.approx([volume] * 4)
    assert not any("unknown values" in row["reasons"] for row in rows)


def test_ids_and_values_that_leave_two_cores_have_the_track_asked_for(tmp_path, verb, says):
    root = track_of(tmp_path / "data", {f"BraTS-PED-{n:05}-000": (1, 2, 3) for n in range(4)})
    words = ("datalist", "brats", "--root", root, "--split", "0.5,0.25,0.25")
    answer = verb(*words)
    texts = (
        "does not identify the track",
        "--track",
        "peds2023 (1",
        "1, 3); peds2024 (1",
        "core 1, 2, 3)",
    )
    says(TOPIC, "children's tumours without a single 4: of 2023 or of 2024", "datalist, check", answer, *texts)
    assert answer.code == 2
    assert not (root / "datalist.json").exists()
    refused = verb("check", root, "--output", tmp_path / "qc")
    assert refused.code == 2
    mentions(refused.err, *texts)
    assert not (tmp_path / "qc").exists()
    for track, core in (("peds2023", [1, 3]), ("peds2024", [1, 2, 3])):
        out = tmp_path / f"{track}.json"
        assert verb(*words, "--track", track, "--output", out).code == 0
        assert content(out)["regions"]["foreground"] == core
    answer = verb(*words, "--track", "peds23")
    assert answer.code == 2, answer.err
    mentions(answer.err, "did you mean 'peds2023'? There are: gli2017")
    answer = verb(*words, "--foreground", "1,2", "--labels", "1,2,3")
    assert answer.code == 0
    mentions(answer.out, "foreground 1, 2 of labels 1, 2, 3 … BraTS track")


@pytest.mark.parametrize(
    ("came", "subjects", "texts"),
    [
        (
            "labels of before 2023 under ids of 2023",
            {f"BraTS-GLI-{n:05}-000": (1, 2, 4) for n in range(4)},
            ("BraTS-GLI", "labels … 1, 2, 4", "cavity, 4", "gli2017 (1 necrosis"),
        ),
        (
            "new names whose ids begin as those of no track",
            {f"patient{n}": (1, 2, 3) for n in range(4)},
            (
                "BraTS track (patient0, patient1",
                "--track",
                "gli2023, peds2023, met2023, men2023, ssa2023, goat2024 (1",
            ),
        ),
        (
            "two tracks in one folder",
            {**{f"BraTS-GLI-{n:05}-000": (1, 2, 3) for n in range(3)}, "BraTS-PED-00001-000": (1, 2, 3, 4)},
            ("different BraTS", "BraTS-GLI: BraTS-GLI-00000-000", "BraTS-PED: BraTS-PED-00001-000", "--track"),
        ),
        (
            "a value that meningioma does not have",
            {f"BraTS-MEN-{n:05}-000": (1, 2, 3, 4) for n in range(4)},
            ("BraTS-MEN", "1, 2, 3 (men2023)", "labels … 1, 2, 3, 4", "--foreground … --labels"),
        ),
    ],
)
def test_ids_and_values_that_disagree_are_explained_by_each_verb(tmp_path, verb, says, came, subjects, texts):
    root = track_of(tmp_path / "data", subjects)
    answer = verb("datalist", "brats", "--root", root, "--split", "0.5,0.25,0.25")
    says(TOPIC, came, "datalist, check", answer, *texts)
    assert answer.code == 2
    assert not (root / "datalist.json").exists()
    refused = verb("check", root, "--output", tmp_path / "qc")
    assert refused.code == 2
    mentions(refused.err, *texts)
    assert not (tmp_path / "qc").exists()


def test_a_cavity_is_unknown_where_its_track_has_none(tmp_path, verb, says):
    root = track_of(tmp_path / "data", {f"BraTS-GLI-{n:05}-000": (1, 2, 3, 4) if n else (1, 2, 3) for n in range(4)})
    answer = verb("check", root, "--output", tmp_path / "qc", "--track", "gli2023")
    assert answer.code == 1
    assert answer.err.count("label contains unknown values (4), known are 1, 2, 3") == 3
    answer = verb("datalist", "brats", "--root", root, "--split", "1,0,0", "--track", "gli2023")
    assert answer.code == 2
    message = "labels … 4 (e.g. BraTS-GLI-00001-000) … gli2023 … 2023"
    says(TOPIC, "a resection cavity, 4, in a track that has none", "datalist, check", answer, message)
    answer = verb("datalist", "brats", "--root", root, "--split", "1,0,0", "--track", "peds2024")
    assert answer.code == 0
    mentions(answer.out, "BraTS-GLI … --track peds2024")


def test_one_label_among_many_is_its_own_cases_problem(tmp_path, verb):
    """Only where most labels contradict the ids are the ids, or the track, to blame."""
    root = track_of(tmp_path / "data", {f"BraTS-SSA-{n:05}-000": (1, 2, 3) if n else (1, 2, 7) for n in range(4)})
    answer = verb("check", root, "--output", tmp_path / "qc")
    assert answer.code == 1
    mentions(answer.err, "BraTS-SSA-00000-000: label … unknown … (7)")
    assert answer.err.count("unknown values") == 1


def test_radiotherapy_has_one_image_and_one_value(tmp_path, verb, says):
    root = tmp_path / "data"
    for n in range(4):
        subject, volumes = f"BraTS-MEN-RT-{n:04}-1", head(n, SHAPE)
        write_image(root / subject / f"{subject}_t1c.nii.gz", volumes["T1"])
        write_image(root / subject / f"{subject}_gtv.nii.gz", volumes["label"])
    answer = verb("datalist", "brats", "--root", root)
    assert answer.code == 2
    message = "T1, T2 (BraTS-MEN-RT-0000-1…): --modalities T1ce"
    says(TOPIC, "scans for radiotherapy, of which there is T1ce alone", "datalist, check, predict", answer, message)
    answer = verb("datalist", "brats", "--root", root, "--modalities", "T1ce", "--split", "0.5,0.25,0.25")
    assert answer.code == 0, answer.err
    assert content(root / "datalist.json")["regions"]["foreground"] == [1]
    assert content(root / "datalist.json")["track"]["name"] == "menrt2024"


# persons


@pytest.mark.parametrize(
    ("came", "ids", "said"),
    [
        ("BIDS sessions", [f"sub-{n:02}_ses-{k}" for n in range(6) for k in (1, 2)], "by ids of BIDS"),
        ("scans at times", [f"BraTS-GLI-{n:05}-10{k}" for n in range(6) for k in (0, 1)], "by ids of BraTS"),
        ("ADNI", [f"{n:03}_S_0295_I{k}" for n in range(6) for k in (1, 2)], "by ids of ADNI"),
        ("OASIS", [f"OAS3000{n}_MR_d0{k}29" for n in range(6) for k in (1, 2)], "by ids of OASIS"),
        ("case of letters", [f"{a}ub-{n:02}_ses-{k}" for n in range(6) for k, a in enumerate("sS")], "by ids of BIDS"),
    ],
)
def test_one_persons_scans_stay_in_one_split(tmp_path, verb, says, came, ids, said):
    answer = verb(*flat(tmp_path / "scans", ids), "--output", tmp_path / "list.json")
    assert answer.code == 0, answer.err
    message = f"12 cases … 6 persons … {said}; {min(ids)}"
    mentions(answer.out, message)
    if came == "BIDS sessions":
        says(TOPIC, "several sessions of one person", "datalist", answer, message)
    split_of = splits_of(tmp_path / "list.json")
    assert len(split_of) == 12
    assert all(split_of[one] == split_of[other] for one, other in zip(ids[::2], ids[1::2], strict=True))
    assert content(tmp_path / "list.json")["split_rule"]["persons"] == {"rule": said, "count": 6}


def test_a_pattern_says_who_is_who(tmp_path, verb, says):
    ids = [f"pat{n}_{time}" for n in range(6) for time in ("baseline", "followup")]
    words = [*flat(tmp_path / "scans", ids), "--output"]
    answer = verb(*words, tmp_path / "warned.json")
    assert answer.code == 0
    texts = ("12 of 12 ids … person … pat0_baseline", "--person '{person}_{}'")
    says(TOPIC, "ids that look like several scans of one person, in no known layout", "datalist", answer, *texts)
    answer = verb(*words, tmp_path / "list.json", "--person", "{person}_{}")
    assert answer.code == 0
    assert "warning" not in answer.err
    mentions(answer.out, "12 cases … 6 persons … --person {person}_{}; pat0_baseline … pat0)")
    split_of = splits_of(tmp_path / "list.json")
    assert all(split_of[one] == split_of[other] for one, other in zip(ids[::2], ids[1::2], strict=True))
    answer = verb(*words, tmp_path / "apart.json", "--person", "none")
    assert (answer.code, "warning" in answer.err) == (0, False)
    for pattern, text in (
        ("sub-{person}_{}", "--person sub-{person}_{} … 12 of 12 ids: pat0_baseline"),
        ("{person}{}", "matches 'pat0_baseline' in two ways (person 'p' or 'pat0_baseline')"),
        ("{subject}_{}", "--person takes a pattern with one {person}"),
    ):
        answer = verb(*words, tmp_path / "no.json", "--person", pattern)
        assert answer.code == 2, answer.err
        mentions(answer.err, text)
    assert not (tmp_path / "no.json").exists()


@pytest.mark.parametrize(
    ("ids", "odd"),
    [
        ([f"s{n:02}_{side}" for n in range(5) for side in "LR"], True),
        ([f"case{n}{letter}" for n in range(5) for letter in "ab"], True),
        ([f"case_{n}_aug{k}" for n in range(4) for k in range(3)], True),
        ([f"v{k}.p{n}" for n in range(5) for k in "12"], True),
        ([f"lesion_{n:03}" for n in range(10)], False),
        ([f"{site}_{n:02}" for site in ("oslo", "bergen") for n in range(5)], False),
        ([f"IXI{n:03}-Guys-0{n}77" for n in range(5)], False),
        ([f"BraTS-GoAT-{n:05}" for n in range(5)], False),
    ],
    ids=["sides", "letters", "augmented", "visit first", "numbers", "sites", "IXI", "GoAT"],
)
def test_only_ids_that_look_like_scans_of_one_person_are_warned_about(tmp_path, verb, ids, odd):
    answer = verb(*flat(tmp_path / "scans", ids), "--output", tmp_path / "list.json")
    assert answer.code == 0, answer.err
    mentions(answer.out, f"{len(ids)} … person")
    assert ("look like several scans of one person" in answer.err) is odd


def test_lists_that_divide_a_person_are_refused(tmp_path, verb, says):
    ids = [f"sub-{n:02}_ses-{k}" for n in range(3) for k in (1, 2)]
    words = flat(tmp_path / "scans", ids)[:-2]
    lists = tmp_path / "lists.json"
    lists.write_text(json.dumps({"train": ids[:3], "test": ids[3:]}))
    words += ["--split", str(lists), "--output", str(tmp_path / "list.json")]
    answer = verb(*words)
    texts = (
        "1 persons … split",
        "sub-01_ses-1 … train, sub-01_ses-2 … test",
        "--person none",
    )
    says(TOPIC, "lists that put one person's sessions into training and test", "datalist", answer, *texts)
    assert answer.code == 2
    assert not (tmp_path / "list.json").exists()
    assert verb(*words, "--person", "none").code == 0
    lists.write_text(json.dumps({"train": ids[:4], "test": ids[4:]}))
    (tmp_path / "list.json").unlink()
    assert verb(*words).code == 0


# ids


NAMES = ("André", "Zoë", "Bob", "Eve")


@pytest.mark.parametrize(("one", "other"), [(composed, decomposed), (decomposed, composed), (decomposed, decomposed)])
def test_accents_are_one_id_however_they_are_encoded(tmp_path, verb, says, one, other):
    words = flat(tmp_path / "scans", list(map(one, NAMES)), list(map(other, NAMES)))
    answer = verb(*words[:-1], "0.34,0.33,0.33", "--output", tmp_path / "list.json", "--leave_out", other("Zoë"))
    assert answer.code == 0, answer.err
    data = content(tmp_path / "list.json")
    assert [case["subject"] for case in data["cases"]] == ["André", "Bob", "Eve"]
    assert list(data["left_out"]) == ["Zoë"]
    here = {name.encode() for name in os.listdir(tmp_path / "scans")}
    assert all(Path(case[role]).name.encode() in here for case in data["cases"] for role in ("T1", "label")), "as on disk"
    if (one, other) == (composed, decomposed):
        says(TOPIC, "é as one letter in T1's names, as e and an accent in the labels'", "datalist", answer, "3 cases (1 train")


def test_folders_and_patterns_pair_too(tmp_path, verb):
    root = tmp_path / "brats"
    for number, subject in enumerate(("Brats18_Müller_1", "Brats18_Åse_1", "Brats18_Bo_1")):
        for role, ending in (("T1", "t1"), ("T2", "t2"), ("label", "seg")):
            name = f"{decomposed(subject)}_{ending}.nii.gz"
            write_image(root / composed(subject) / name, head(number, SHAPE)[role])
    assert verb("datalist", "brats", "--root", root, "--split", "0.34,0.33,0.33").code == 0
    assert [case["subject"] for case in content(root / "datalist.json")["cases"]] == sorted(
        ["Brats18_Bo_1", "Brats18_Müller_1", "Brats18_Åse_1"]
    )
    scans = tmp_path / decomposed("Größe")
    flat(scans, ["A", "B", "C", "D"])
    pattern = f"{tmp_path}/{composed('Größe')}/{{subject}}"
    words = ("--T1", f"{pattern}_T1.nii.gz", "--label", f"{pattern}_seg.nii.gz", "--foreground", "1")
    assert verb("datalist", "files", *words, "--split", "0.5,0.25,0.25", "--output", tmp_path / "list.json").code == 0


@pytest.mark.parametrize(
    ("came", "ids", "labels", "texts"),
    [
        (
            "two files whose names differ only in how accents are encoded",
            [composed("André"), decomposed("André"), "Bob"],
            None,
            ("'André' … 2 files … T1", "'Andr\\xe9_T1.nii.gz'", "'Andre\\u0301_T1.nii.gz'"),
        ),
        (
            "an id with a character that cannot be seen",
            ["Bo\u200bb", "Eve", "Ann"],
            None,
            (r"subject 'Bo\u200bb'", "rename"),
        ),
        (
            "a space at the end of an id",
            ["Bob ", "Eve", "Ann"],
            ["Bob", "Eve", "Ann"],
            ("subjects 'Bob' … 'Bob '", "'Bob' lacks T1; 'Bob ' lacks label"),
        ),
        (
            "T1 and label of ids that differ in case",
            ["Sub-01", "sub-02", "sub-03"],
            ["sub-01", "sub-02", "sub-03"],
            ("subjects 'Sub-01' … 'sub-01'", "'Sub-01' lacks label; 'sub-01' lacks T1"),
        ),
        ("a direction mark", ["\u202eBob", "Eve", "Ann"], None, (r"subject '\u202eBob'",)),
        ("bytes", [os.fsdecode(b"Andr\xe9"), "Eve", "Ann"], None, (r"'Andr\udce9' … UTF-8",)),
    ],
)
@pytest.mark.parametrize("incomplete", ["refuse", "leave_out"])
def test_indistinguishable_ids_are_refused(tmp_path, verb, says, came, ids, labels, texts, incomplete):
    words = flat(tmp_path / "scans", ids, labels)
    answer = verb(*words, "--output", tmp_path / "list.json", "--incomplete", incomplete)
    if len(came) > 14 and incomplete == "leave_out":
        says(TOPIC, came, "datalist, check, predict", answer, *texts)
    assert answer.code == 2
    mentions(answer.err, *texts)
    assert not (tmp_path / "list.json").exists()


def test_ids_that_differ_in_case_only_are_warned_about(tmp_path, verb, says):
    words = flat(tmp_path / "scans", ["Bob", "bob", "Eve", "Ann"])
    answer = verb(*words[:-1], "1,0,0", "--output", tmp_path / "list.json")
    assert answer.code == 0, answer.err
    assert len(content(tmp_path / "list.json")["cases"]) == 4
    says(
        TOPIC,
        "two cases whose ids differ in case only",
        "datalist, check, predict",
        answer,
        "subjects 'Bob' … 'bob'",
    )


def test_a_folder_that_is_not_utf_8_is_refused(tmp_path, verb):
    answer = verb(*flat(tmp_path / os.fsdecode(b"M\xfcller"), ["A", "B", "C", "D"]), "--output", tmp_path / "list.json")
    assert answer.code == 2
    message = r"M\udcfcller/A_T1.nii.gz … UTF-8"
    mentions(answer.err, message)
    assert not (tmp_path / "list.json").exists()


def test_subjects_typed_on_a_mac_are_found(tmp_path, verb, source, phantoms):
    root = tmp_path / "scans"
    for role, folder in (("T1", "IXI-T1"), ("T2", "IXI-T2")):
        for name, scan in zip((composed("André"), "Bob"), sorted((phantoms / "ixi" / folder).iterdir()), strict=False):
            root.mkdir(exist_ok=True)
            os.link(scan, root / f"{name}_{role}.nii.gz")
    words = ["--bundle", source, "--output", tmp_path / "out", "--device", "cpu"]
    words += [text for role in ("T1", "T2") for text in (f"--{role}", f"{root}/{{subject}}_{role}.nii.gz")]
    answer = verb("predict", *words, "--subjects", decomposed("André"))
    assert answer.code == 0, answer.err
    assert (tmp_path / "out" / f"{composed('André')}_seg.nii.gz").is_file()
    assert not list((tmp_path / "out").glob("Bob*"))


# tables and lists


QC = "case,state,reasons\r\nBob,suspect,head cut\r\nZoë,problem,no T2\r\nEve,fine,\r\n"


@pytest.mark.parametrize(
    "written",
    [
        b"\xef\xbb\xbf" + QC.encode(),
        b"\xef\xbb\xbf" + decomposed(QC).encode(),
        QC.replace(",", "\t").encode("utf-16"),
        b"\xfe\xff" + QC.replace(",", "\t").encode("utf-16-be"),
        QC.replace(",", ";").encode() + b";;\r\n",
        b"sep=;\r\n" + QC.replace(",", ";").encode(),
        QC.replace("\r\n", "\n").replace("Bob,", ' "Bob" ,'.replace(" ", "")).encode() + b"\n\n",
    ],
    ids=["UTF-8 with mark", "of a Mac", "Unicode text", "big-endian", "semicolons", "sep=", "empty lines"],
)
def test_a_table_of_a_spreadsheet_is_read_as_it_is_meant(tmp_path, verb, says, written):
    words = flat(tmp_path / "scans", NAMES)
    table = tmp_path / ("qc.txt" if written[:2] in (b"\xff\xfe", b"\xfe\xff") else "qc.csv")
    table.write_bytes(written)
    answer = verb(*words[:-1], "1,0,0", "--output", tmp_path / "list.json", "--leave_out", table)
    assert answer.code == 0, answer.err
    left = content(tmp_path / "list.json")["left_out"]
    assert left == {"Bob": f"suspect in {table.name}: head cut", "Zoë": f"problem in {table.name}: no T2"}
    if written.startswith(b"\xef\xbb\xbfcase,state,reasons\r\nBob,suspect,head cut\r\nZo\xc3\xab"):
        says(TOPIC, "a table that begins with a byte order mark, as Excel writes it", "datalist", answer, "2 left out")


def test_a_decimal_comma_is_a_point(tmp_path, verb):
    words = flat(tmp_path / "scans", NAMES)
    (tmp_path / "scores.csv").write_text("subject;dice;hd95_mm\nBob;0,79;1,5\nEve;0,8;2,0\nAndré;nan;\n", encoding="utf-8-sig")
    answer = verb(*words[:-1], "1,0,0", "--output", tmp_path / "list.json", "--leave_out", f"{tmp_path}/scores.csv:0.8")
    assert answer.code == 0, answer.err
    assert content(tmp_path / "list.json")["left_out"] == {
        "Bob": "Dice 0.790 below 0.8 in scores.csv (selected on the outcome)"
    }


@pytest.mark.parametrize(
    ("came", "written", "texts"),
    [
        (
            "a table in Latin-1, as Excel writes it",
            QC.encode("cp1252"),
            ("UTF-8 … Windows-1252 (Latin-1) … 3 … 'Zoë'", "in Excel: 'CSV UTF-8'"),
        ),
        ("Mac", QC.encode("mac-roman"), ("Mac Roman … 3 … 'Zoë'",)),
        ("Greek", QC.replace("Zoë", "Ζωή").encode("cp1253"), ("it seems to be in an older encoding such as",)),
        ("no mark", QC.encode("utf-16-le"), ("UTF-16",)),
        ("row", QC.replace("head cut", "head, cut").encode(), ("2 … 4 cells … 3", "quotes")),
        ("cut", QC.encode("utf-16")[:-1], ("damaged … UTF-16",)),
        ("Dice", b"subject,dice\nBob,79\n", ("Dice … 0 … 1 … '79'",)),
        ("point", b'subject,dice\nBob,"0,79"\n', ("Dice … ('0,79')",)),
    ],
)
def test_what_cannot_be_read_is_refused_by_the_name_of_its_encoding(tmp_path, verb, says, came, written, texts):
    words = flat(tmp_path / "scans", NAMES)
    (tmp_path / "t.csv").write_bytes(written)
    choice = f"{tmp_path}/t.csv:0.8" if b"dice" in written else tmp_path / "t.csv"
    answer = verb(*words, "--output", tmp_path / "list.json", "--leave_out", choice)
    if "Excel" in came:
        says(TOPIC, came, "datalist", answer, *texts)
    assert answer.code == 2
    mentions(answer.err, *texts)
    assert not (tmp_path / "list.json").exists()


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-8"])
def test_lists_are_read_in_each_encoding_that_names_itself(tmp_path, verb, codec):
    words = flat(tmp_path / "scans", NAMES)
    lists = {"train": [decomposed("André"), "Bob "], "test": [composed("Zoë"), "Eve"]}
    (tmp_path / "lists.json").write_bytes(json.dumps(lists, ensure_ascii=False).encode(codec))
    answer = verb(*words[:-1], tmp_path / "lists.json", "--output", tmp_path / "list.json")
    assert answer.code == 0, answer.err
    assert content(tmp_path / "list.json")["splits"] == {"train": ["André", "Bob"], "test": ["Eve", "Zoë"]}


def test_lists_and_tasks_in_latin_1_are_refused(tmp_path, verb):
    words = flat(tmp_path / "scans", NAMES)
    (tmp_path / "lists.json").write_bytes('{"train": ["André"], "test": ["Bob"]}'.encode("latin-1"))
    answer = verb(*words[:-1], tmp_path / "lists.json", "--output", tmp_path / "list.json")
    assert answer.code == 2
    mentions(answer.err, "lists.json … UTF-8 … Windows-1252 (Latin-1) … 1 … 'André'")
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "dataset.json").write_bytes('{"name": "Größe"}'.encode("latin-1"))
    answer = verb("datalist", "decathlon", "--root", tmp_path / "task", "--foreground", "1")
    assert answer.code == 2
    mentions(answer.err, "dataset.json … UTF-8 … Windows-1252")


def test_old_names_are_of_2017_to_2021(tmp_path, verb):
    root = write_brats(tmp_path / "data", [f"case{n}" for n in range(4)], SHAPE)
    answer = verb("datalist", "brats", "--root", root, "--split", "0.5,0.25,0.25")
    assert answer.code == 0, answer.err
    mentions(answer.out, "BraTS track gli2017 … 2017–2021: 1")
