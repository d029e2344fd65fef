"""A folder is one process's at a time."""

import pytest

from monai_tl.errors import ConfigError
from monai_tl.storage.locks import locked_folder


def test_a_folder_is_one_process_s_at_a_time(tmp_path):
    folder = tmp_path / "new"
    with (
        locked_folder(folder, "study"),
        pytest.raises(ConfigError, match=r"another process works on the study in '\S*new'"),
        locked_folder(folder, "study"),
    ):
        pass
    with locked_folder(folder, "study"):
        pass
