"""Progress bars: where they can be read, and seldom in a log file."""

from monai_tl.storage.progress import BAR_FROM, follow, progress_bar


def test_few_items_pass_without_a_bar(capsys):
    assert list(follow(range(BAR_FROM - 1), "checking", "case")) == list(range(BAR_FROM - 1))
    assert capsys.readouterr().err == ""
    assert list(follow(iter(range(BAR_FROM)), "checking", "case")) == list(range(BAR_FROM))
    assert f"{BAR_FROM}/{BAR_FROM}" in capsys.readouterr().err


def test_a_log_file_is_written_to_every_ten_seconds(capsys, monkeypatch):
    with progress_bar(3, "hashing", "scan") as bar:
        assert bar.mininterval == 10
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress_bar(3, "hashing", "scan", disable=True) as bar:
        assert bar.disable
