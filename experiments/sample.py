"""`python -m experiments.sample`: New names from a run (`jaxgen.commands.sample`)."""

from jaxgen.commands.cli import main
from jaxgen.commands.sample import command

if __name__ == "__main__":
    main(command)
