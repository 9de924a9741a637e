"""`python -m experiments.benchmark`: Measures this machine (`jaxgen.commands.benchmark`)."""

from jaxgen.commands.benchmark import command
from jaxgen.commands.cli import main

if __name__ == "__main__":
    main(command)
