"""Which folders the package is made of; all else stands in pyproject.toml.

The named sweeps and the bundled data stand at the top of the project, and the package carries them as its own.
"""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["jaxgen", "jaxgen.*"]),
        *(f"jaxgen.{name}" for name in find_packages("experiments", include=["ablations", "ablations.*"])),
        "jaxgen.bundled",
    ],
    package_dir={"jaxgen.ablations": "experiments/ablations", "jaxgen.bundled": "data"},
)
