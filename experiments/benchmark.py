"""`python -m experiments.benchmark`: Measures this machine (`jaxgen.commands.benchmark`)."""

from jaxgen.commands.cli import main
from jaxgen.commands.benchmark import command

if __name__ == "__main__":
    main(command)
