"""`python -m experiments.sweep`: Trains many configurations side by side (`jaxgen.commands.sweep`)."""

from jaxgen.commands.cli import main
from jaxgen.commands.sweep import command

if __name__ == "__main__":
    main(command)
