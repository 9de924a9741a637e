"""`python -m experiments.merge`: A run of what its parts hold (`jaxgen.commands.merge`)."""

from jaxgen.commands.cli import main
from jaxgen.commands.merge import command

if __name__ == "__main__":
    main(command)
