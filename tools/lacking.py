"""Prints those of some wheels that this Python lacks to run jaxgen: by what pyproject.toml asks for, and what that asks for.

    python tools/lacking.py FOLDER

What is there in a version that will do is left alone. What is neither there nor among the wheels is said on stderr.
"""

from __future__ import annotations

import importlib.metadata as metadata
import re
import sys
import tomllib
import zipfile
from collections.abc import Callable
from email.parser import Parser
from pathlib import Path

try:
    from packaging.requirements import Requirement
except ModuleNotFoundError:  # where nothing has brought it along, pip has one
    from pip._vendor.packaging.requirements import Requirement  # pyright: ignore[reportAssignmentType]


def plain(name: str) -> str:
    """A package's name as all spellings of it are written."""
    return re.sub("[-_.]+", "-", name).lower()


def asked(wheel: Path) -> list[str]:
    """What a wheel says that it needs."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode()).get_all("Requires-Dist") or []


def lacking(
    needs: list[str], wheels: dict[str, tuple[str, Path]], there: Callable[[str], tuple[str, list[str]] | None]
) -> tuple[list[Path], list[str]]:
    """The wheels to install, and what is missing.

    Args:
      needs: requirements, such as "optax>=0.2.8".
      wheels: package -> version and file.
      there: package -> the version that is installed and what it needs, or None.
    """
    found: dict[str, Path] = {}
    missing: list[str] = []
    seen: set[tuple[str, str]] = set()
    waiting = [(text, "jaxgen") for text in needs]
    while waiting:
        text, why = waiting.pop(0)
        wanted = Requirement(text)
        name, key = plain(wanted.name), (plain(wanted.name), str(wanted.specifier))
        if key in seen or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        seen.add(key)
        here = there(name)
        if name not in found and here is not None and wanted.specifier.contains(here[0], prereleases=True):
            waiting += [(other, name) for other in here[1]]
        elif name not in wheels or not wanted.specifier.contains(wheels[name][0], prereleases=True):
            missing.append(f"{text} (for {why}; there: {None if here is None else here[0]})")
        elif name not in found:
            found[name] = wheels[name][1]
            waiting += [(other, name) for other in asked(wheels[name][1])]
    return list(found.values()), missing


def installed(name: str) -> tuple[str, list[str]] | None:
    """The version of a package here, and what it needs."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    return found.version, found.requires or []


def main(folder: Path) -> None:
    wheels = {plain(path.name.split("-")[0]): (path.name.split("-")[1], path) for path in sorted(folder.glob("*.whl"))}
    needs = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    found, missing = lacking(needs, wheels, installed)
    for line in missing:
        print(f"LACKING: {line}", file=sys.stderr)
    print(*found, sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
