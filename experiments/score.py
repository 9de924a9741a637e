"""`python -m experiments.score`: How likely a run's trial finds names (`jaxgen.commands.score`)."""

from jaxgen.commands.cli import main
from jaxgen.commands.score import command

if __name__ == "__main__":
    main(command)
