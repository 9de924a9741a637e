"""Rebuilds the bundled data from registry packages that carry it. Run from this folder: python build.py

The Census Bureau's name lists (public domain) travel as data inside the source distribution of the PyPI package `names` 0.3.0,
the images of digits inside the wheel of scikit-learn 1.9.1; pip fetches both by name and checks nothing, so the sums below are
checked here.
"""

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

SURNAMES = 20_000
SHA256 = {
    "names.txt": "ecab48c0264a0bc68eb85b7f07f9ae2d4e2a5a285dd75aea94050e5545435ea6",
    "first_names.txt": "79f2e5714c608475ede1402458c483737403e81a0a41af3e3ddb36cd8c7288d6",
    "digits8x8.csv.gz": "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22",
}


def downloaded(requirement: str, form: str, folder: str) -> Path:
    """A package as pip fetches it from its registry.

    Args:
      form: --only-binary, for its wheel, or --no-binary, for its source distribution.
    """
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", form, ":all:", "-d", folder, requirement]
    subprocess.run(pip, check=True)
    return next(Path(folder).glob(f"{requirement.partition('=')[0].replace('-', '?')}-*"))


def ranked(archive: tarfile.TarFile, *lists: str) -> list[str]:
    """The different names of the Bureau's lists, lower case, by falling frequency (per cent, the second column).

    Names of equal frequency keep the order of the Bureau's rank within one list, and the alphabet's across several.
    """
    share: dict[str, float] = {}
    for name in lists:
        member = archive.extractfile(f"names-0.3.0/names/{name}")
        if member is None:
            raise SystemExit(f"build: {name} is not in the archive")
        for line in member.read().decode("ascii").splitlines():
            word, percent, *_ = line.lower().split()
            share[word] = share.get(word, 0.0) + float(percent)
    order = list(share) if len(lists) == 1 else sorted(share)
    return sorted(order, key=lambda word: -share[word])


def corpora(folder: str) -> dict[str, bytes]:
    """The files of names."""
    with tarfile.open(downloaded("names==0.3.0", "--no-binary", folder)) as archive:
        found = {
            "names.txt": ranked(archive, "dist.all.last")[:SURNAMES],
            "first_names.txt": ranked(archive, "dist.female.first", "dist.male.first"),
        }
    return {name: ("\n".join(words) + "\n").encode("ascii") for name, words in found.items()}


def digits(folder: str) -> dict[str, bytes]:
    """The file of digits, as it is."""
    with zipfile.ZipFile(downloaded("scikit-learn==1.9.1", "--only-binary", folder)) as archive:
        return {"digits8x8.csv.gz": archive.read("sklearn/datasets/data/digits.csv.gz")}


def main() -> None:
    folder = Path(__file__).parent
    with tempfile.TemporaryDirectory() as work:
        files = corpora(work) | digits(work)
    for name, content in files.items():
        digest = hashlib.sha256(content).hexdigest()
        if digest != SHA256[name]:
            raise SystemExit(f"build: {name} came out with sha256 {digest}, expected {SHA256[name]}")
        (folder / name).write_bytes(content)
        print(f"{name}: {len(content):,} bytes, sha256 {digest}")


if __name__ == "__main__":
    main()
