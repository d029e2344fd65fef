"""Which BraTS track ids and label values belong to, and what the values mean."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from monai_tl.cli import data_verbs as cli
from monai_tl.datasets import brats_tracks
from monai_tl.errors import ConfigError, DataError

DOCS = Path(__file__).parents[2] / "docs" / "layouts.md"


@pytest.mark.parametrize(
    ("subject", "family"),
    [
        ("Brats18_CBICA_AAB_1", brats_tracks.OLD),
        ("BraTS20_Training_001", brats_tracks.OLD),
        ("BraTS2021_00000", brats_tracks.OLD),
        ("FeTS2022_00000", brats_tracks.OLD),
        ("BraTS-GLI-00000-000", "BraTS-GLI"),
        ("brats_gli_00000_000", "BraTS-GLI"),
        ("BraTS-PED-00002-000", "BraTS-PED"),
        ("BraTS-PEDs-00002-000", "BraTS-PED"),
        ("BraTS2024-PED-00002", "BraTS-PED"),
        ("BraTS-MET-00001-000", "BraTS-MET"),
        ("BraTS-MEN-00001-000", "BraTS-MEN"),
        ("BraTS-MEN-RT-0001-1", "BraTS-MEN-RT"),
        ("BraTS-SSA-00002-000", "BraTS-SSA"),
        ("BraTS-GoAT-00002", "BraTS-GoAT"),
        ("BraTS-NEW-00002-000", None),
        ("UCSF-PDGM-0004", None),
    ],
)
def test_ids_identify_the_family(subject, family):
    assert brats_tracks.family_of(subject) == family


@pytest.mark.parametrize(
    ("prefix", "held", "chosen"),
    [
        ("BraTS-GLI", [(1, 2, 3), (2,)], "gli2023"),
        ("BraTS-GLI", [(1, 2, 3), (2, 4), (3, 4)], "gli2024"),
        ("BraTS-PED", [(1, 2), (2, 4)], "peds2024"),
        ("BraTS-MET", [(3,)], "met2023"),
        ("BraTS-MEN-RT", [(1,)], "menrt2024"),
        ("Brats18", [(1,)], "gli2017"),
    ],
)
def test_values_decide_within_a_family(prefix, held, chosen):
    found = {values: [f"{prefix}-{number:05}-000"] for number, values in enumerate(held)}
    subjects = [subject for of in found.values() for subject in of]
    assert brats_tracks.choose_track(subjects, found, None).name == chosen


def test_most_labels_are_enough_for_a_check_only():
    found = {(1, 2, 3): ["BraTS-SSA-00001-000"] * 2, (7,): ["BraTS-SSA-00002-000"]}
    assert brats_tracks.choose_track(["BraTS-SSA-00001-000"], found, None, most=True).name == "ssa2023"
    with pytest.raises(DataError, match="labels .* 1, 2, 3, 7"):
        brats_tracks.choose_track(["BraTS-SSA-00001-000"], found, None)
    with pytest.raises(DataError, match="labels.*1, 2, 3, 7.*2 more"):
        brats_tracks.choose_track(["BraTS-SSA-00001-000"], {**found, (7,): ["BraTS-SSA-00002-000"] * 4}, None, most=True)


def test_ids_of_no_family_are_those_of_the_files_or_asked_for():
    assert brats_tracks.choose_track(["ann"], {(1, 2): ["ann"]}, brats_tracks.OLD).name == "gli2017"
    with pytest.raises(DataError, match=r"BraTS track \(ann\).*labels.*1, 2, 4"):
        brats_tracks.choose_track(["ann"], {(1, 2, 4): ["ann"]}, None)


def test_a_core_holds_no_oedema_and_no_cavity():
    for track in brats_tracks.TRACKS:
        values = {value for value, meaning in track.labels.items() if not re.search("oedema|FLAIR|cavity", meaning)}
        assert values == set(track.core), track.name
    assert len(set(brats_tracks.TRACK_NAMES)) == len(brats_tracks.TRACKS)
    with pytest.raises(ConfigError, match="unknown track 'ped2024'.*'peds2024'"):
        brats_tracks.named_track("ped2024")


def test_help_and_docs_name_every_track():
    text = DOCS.read_text(encoding="utf-8")
    for track in brats_tracks.TRACKS:
        assert re.search(rf"\b{track.name}\b", cli.datalist_brats.__doc__ or "")
        row = f"| `{track.name}` | {track.title} | {track.coding} | {', '.join(map(str, track.core))} | {track.source} |"
        assert row in text, row
