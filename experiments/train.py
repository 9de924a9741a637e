"""`python -m experiments.train`: Trains one trial (`jaxgen.commands.train`)."""

from jaxgen.commands.cli import main
from jaxgen.commands.train import command

if __name__ == "__main__":
    main(command)
