"""`python -m experiments.predict`: What a run's trial says of inputs (`jaxgen.commands.predict`)."""

from jaxgen.commands.cli import main
from jaxgen.commands.predict import command

if __name__ == "__main__":
    main(command)
