"""`python -m experiments.export`: One trial as a small folder (`jaxgen.commands.export`)."""

from jaxgen.commands.cli import main
from jaxgen.commands.export import command

if __name__ == "__main__":
    main(command)
