"""Keep the subjects of a study whose scans are there: present_subjects.py LISTS.json TRAIN_LIST BRATS_DIR OUTPUT.json."""

import json
import sys
from pathlib import Path

lists, train, folder, output = sys.argv[1:]
present = {path.name for path in Path(folder).glob("*/*") if path.is_dir()}
content = json.loads(Path(lists).read_text(encoding="utf-8"))
kept = {
    name: [s for s in content[key] if s in present] for name, key in (("train", train), ("validation", "val"), ("test", "test"))
}
Path(output).write_text(json.dumps({name: subjects for name, subjects in kept.items() if subjects}, indent=1), encoding="utf-8")
