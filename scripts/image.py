"""Check docker/Dockerfile without a container engine, by running its own steps.

    python scripts/image.py steps                      # JSON: [[instruction, arguments], …]
    python scripts/image.py context                    # the files that .dockerignore does not exclude from the build context
    python scripts/image.py replay ROOT CONTEXT        # run all steps after FROM in a root file system, as root
    python scripts/image.py run ROOT UID COMMAND …     # run a command there as `docker run --user UID` would

Only the instructions that this Dockerfile uses are supported; others are refused.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shlex
import shutil
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
DOCKERFILE, IGNORE = PROJECT / "docker" / "Dockerfile", PROJECT / ".dockerignore"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
IGNORED = ("FROM", "LABEL", "ENTRYPOINT", "CMD")  # change no file and no later step
PASSED_ON = "IMAGE_PIP_"  # IMAGE_PIP_NO_INDEX=1 here is PIP_NO_INDEX=1 in each RUN, so that wheels may come from elsewhere


def steps(text: str) -> list[tuple[str, str]]:
    """Return each instruction with its arguments, without comments and line breaks."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(None, 1)[0].upper(), line.split(None, 1)[1]) for line in joined.splitlines()]


def context(project: Path, ignore: str) -> Iterator[Path]:
    """Yield the files below a folder that a .dockerignore does not exclude, relative to the folder."""
    patterns = [line.strip() for line in ignore.splitlines() if line.strip() and not line.startswith("#")]
    kept = [pattern[1:].strip("/") for pattern in patterns if pattern.startswith("!")]
    for folder, folders, files in os.walk(project):
        here = Path(folder).relative_to(project)
        for name in list(folders):
            path = (here / name).as_posix()
            if is_ignored(path, patterns) and not any(pattern.startswith(f"{path}/") for pattern in kept):
                folders.remove(name)  # no pattern includes anything below it; .venv and data are large
        yield from sorted(here / name for name in files if not is_ignored((here / name).as_posix(), patterns))


def is_ignored(path: str, patterns: list[str]) -> bool:
    """Return whether the last pattern that matches a path, or a folder above it, is one without ``!``."""
    ignored = False
    above = [path, *(parent.as_posix() for parent in Path(path).parents if parent.name)]
    for pattern in patterns:
        matches = re.compile(_as_regex(pattern.lstrip("!").strip("/"))).fullmatch
        if any(matches(each) for each in above):
            ignored = not pattern.startswith("!")
    return ignored


def _as_regex(pattern: str) -> str:
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    regex = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(regex.get(part, re.escape(part)) for part in parts)


def replay(root: Path, source: Path) -> None:
    """Run the steps after FROM; image.json in the root records environment, folder and user for later commands."""
    environment, folder, user = {"PATH": PATH, "HOME": "/root"}, "/", "0"
    for instruction, argument in steps(DOCKERFILE.read_text(encoding="utf-8")):
        print(f"  {instruction} {argument[:110]}", flush=True)
        expanded = string.Template(argument).safe_substitute(environment)
        if instruction == "RUN":
            given = {key.removeprefix("IMAGE_"): value for key, value in os.environ.items() if key.startswith(PASSED_ON)}
            in_root(root, user, folder, {**environment, **given}, ["/bin/sh", "-c", argument])
        elif instruction == "ENV":
            environment |= dict(pair.split("=", 1) for pair in shlex.split(expanded))
        elif instruction == "WORKDIR":
            folder = expanded
            (root / folder.strip("/")).mkdir(parents=True, exist_ok=True)
        elif instruction == "COPY":
            copy(source, root / folder.strip("/"), root, expanded)
        elif instruction == "USER":
            user = expanded
        elif instruction not in IGNORED:
            raise SystemExit(f"{instruction} is not supported by {Path(__file__).name}: add it there, or do not use it")
    (root / "image.json").write_text(json.dumps([environment, folder, user]), encoding="utf-8")


def copy(source: Path, folder: Path, root: Path, argument: str) -> None:
    """Copy from the context as COPY does: files into a folder, and the content of folders."""
    *names, destination = shlex.split(argument)
    if any(name.startswith("--") for name in names):
        raise SystemExit(f"COPY {argument}: options are not supported by {Path(__file__).name}")
    target = root / destination.strip("/") if destination.startswith("/") else folder / destination
    found = [path for name in names for path in map(Path, glob.glob(str(source / name)))]
    if len(found) < len(names):
        raise SystemExit(f"COPY {argument}: some files are not in the context; see .dockerignore")
    for path in found:
        if path.is_dir():
            shutil.copytree(path, target, dirs_exist_ok=True)
        else:
            place = target / path.name if destination.endswith("/") else target
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)


def in_root(root: Path, user: str, folder: str, environment: dict[str, str], command: list[str]) -> None:
    """Run a command in a root file system as a user (a number) with only these variables; exit if it fails."""
    variables = [f"{key}={value}" for key, value in environment.items()]
    inside = ["/usr/bin/env", "-i", *variables, "/bin/sh", "-c", 'cd "$0" && exec "$@"', folder, *command]
    done = subprocess.run(["chroot", f"--userspec={user}:{user}", "--groups=", str(root), *inside])
    if done.returncode:
        raise SystemExit(f"failed with code {done.returncode}: {shlex.join(command)[:300]}")


def main() -> None:
    """Run the command that the first argument names."""
    verb, *arguments = sys.argv[1:] or ["help"]
    if verb == "steps":
        print(json.dumps(steps(DOCKERFILE.read_text(encoding="utf-8"))))
    elif verb == "context":
        print(*context(PROJECT, IGNORE.read_text(encoding="utf-8")), sep="\n")
    elif verb == "replay" and len(arguments) == 2:
        replay(Path(arguments[0]), Path(arguments[1]))
    elif verb == "run" and len(arguments) > 2:
        root, user, *command = arguments
        environment, folder, own = json.loads((Path(root) / "image.json").read_text(encoding="utf-8"))
        in_root(Path(root), own if user == "own" else user, folder, environment, command)
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
