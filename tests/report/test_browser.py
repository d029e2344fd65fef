"""The page in a real browser, at the width of a desk and of a phone: nothing fails, nothing is cut off."""

from __future__ import annotations

import math
import shutil
from urllib.parse import unquote

import pytest

from monai_tl.datasets import ixi
from monai_tl.evaluation.scores import Score
from monai_tl.quality.candidates import Candidates
from monai_tl.quality.check import check_scans
from monai_tl.report.quality.wall import write_page
from monai_tl.report.runs.runs_page import write_report
from monai_tl.report.study.study_page import write_study_report
from tests.conftest import leave_scores
from tests.report.conftest import draw_overlay
from tests.report.study.conftest import write_made_study

sync_api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright, of the dev extra")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = "--no-sandbox --disable-gpu --disable-quic --no-first-run "
QUIET += "--disable-background-networking --disable-component-update --disable-sync"
EVIL = "<img src=x onerror=alert(1)>&\"'"
SIZES = {"desk": (1280, 900), "phone": (390, 844), "small phone": (360, 640)}


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium found; scripts/test.sh installs Debian's where it may")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET.split())
        yield opened
        opened.close()


@pytest.fixture
def page_file(make_run, tmp_path):
    """Two tasks, pictures, a run that waits, hostile and very long ids."""
    dice = {f"case_{n}": 0.4 + 0.05 * n for n in range(9)} | {EVIL.replace("/", ""): 0.3, "long_" * 40: 0.95, "none": math.nan}
    command = ["monai_tl", "transfer", "--window", "[24,24,24]", "--dataset_dir", "/a/very/long/path" * 20, EVIL]
    make_run("scratch", dice, overlays=True, command=command)
    make_run("transfer", {subject: value + 0.04 for subject, value in dice.items()}, source="/w" * 200, frozen=2, overlays=True)
    make_run("a_run_with_quite_a_long_name_and_no_break_in_it_" * 3, dice, source="/w")
    make_run("waiting_$x_1$", None)
    make_run("source", {"z": 0.9}, classes=("background", EVIL), report=None)
    return write_report(tmp_path / "runs").page


@pytest.fixture
def regional_file(make_run, tmp_path):
    """Two regions, a hostile and a very long name, by a distance; one run is of segmentations made elsewhere."""
    regions, values = (EVIL, "long_" * 20), {"dice": 0.5, "hd95": 2.0, "nsd": 0.6, "lesion_f1": 0.7}
    scores = [
        Score(f"case_{n}", {**values, "hd95": math.nan if n == 3 else 2.0 + n}, 2.0, 2.5, 1.0, region)
        for n in range(6)
        for region in regions
    ]
    for name in ("scratch", "transfer"):
        leave_scores(
            make_run(name, dict.fromkeys([f"case_{n}" for n in range(6)], 0.5), classes=regions, overlays=True), scores
        )
    (tmp_path / "runs" / "elsewhere").mkdir()
    leave_scores(tmp_path / "runs" / "elsewhere", scores, predictions={"case_0": "e" * 64})
    return write_report(tmp_path / "runs", metric="hd95", region=regions[1]).page


@pytest.fixture(scope="module")
def check_file(phantoms, tmp_path_factory):
    """Six heads, one with a hostile id, one with a very long one, one without its T2, one that cannot be read; 21 regions."""
    output = tmp_path_factory.mktemp("check")
    cases = ixi.find_ixi_cases(phantoms / "ixi")
    cases[0]["subject"], cases[1]["subject"] = EVIL.replace("/", ""), "long_" * 40
    cases[2]["T2"] = str(output / ("very_long_" * 20 + ".nii.gz"))
    cases[3]["T1"] = cases[3]["T2"] = cases[3]["label"] = str(output / "none.nii.gz")
    regions = {"left": (17,), EVIL: (53,), "long_" * 40: (26,), **{f"organ {n}": (n,) for n in range(60, 78)}}
    candidates = Candidates(tuple(cases), ("T1", "T2"), regions, incomplete={"IXI999": "lacks label"})
    write_page(check_scans(candidates, output / "out"), candidates)
    return output / "out" / "check.html"


@pytest.fixture(scope="module")
def study_file(tmp_path_factory):
    """An unfinished study with hostile and very long ids, settings, faults."""
    subjects = [EVIL.replace("/", ""), "long_" * 40, *(f"case_{n}" for n in range(6))]
    settings = {"dataset_dir": "/a/very/long/path" * 20, "window": [48, 48, 48], EVIL: EVIL}
    left_out = {("1", 26, 0): "failed", ("2", 52, 1): "waiting"}
    folder = write_made_study(
        tmp_path_factory.mktemp("made") / "study",
        subjects=subjects,
        seeds=(0, 1),
        left_out=left_out,
        plan={"settings": settings},
    )
    for arm in ("scratch", "0", "1"):
        (folder / "runs" / f"{arm}_n52_seed0").mkdir(parents=True)
        for subject in subjects[:2]:
            draw_overlay(folder / "runs" / f"{arm}_n52_seed0" / "overlays_test" / f"{subject}.png")
    return write_study_report(folder).page


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["page_file", "regional_file", "study_file"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_nothing_fails_and_nothing_overflows(browser, request, kind, size, scheme):
    opened_well(browser, request.getfixturevalue(kind), size, scheme, pictures=9)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["desk", "phone"])
def test_nor_on_the_page_of_a_check(browser, check_file, size, scheme):
    page = opened_well(browser, check_file, size, scheme, pictures=5, close=False)
    links = page.eval_on_selector_all("a[href]", "all => all.map(one => one.getAttribute('href'))")
    assert len(links) == 5
    assert all((check_file.parent / unquote(link)).is_file() for link in links)
    page.close()


def opened_well(browser, page_file, size, scheme, *, pictures, close=True):
    """Open a page, see that nothing failed and nothing is cut off; the page, if it is not closed."""
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    problems, asked = [], []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: (problems.append(dialog.message), dialog.dismiss()))
    page.on("requestfailed", lambda request: problems.append(f"failed: {request.url[:80]}"))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri(), wait_until="load")
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
    assert problems == []
    assert [url for url in asked if not url.startswith("data:")] == [page_file.as_uri()]
    widths = page.eval_on_selector_all("img", "all => all.map(one => one.naturalWidth)")
    assert len(widths) >= pictures
    assert all(width > 0 for width in widths)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    sides = page.eval_on_selector_all(
        "img, pre, .scroll, h1, h2, h3, h4, p, figcaption, summary", "all => all.map(one => one.getBoundingClientRect().right)"
    )
    assert max(sides) <= width, "nothing reaches beyond the window, not even hidden"
    if close:
        page.close()
    return page
