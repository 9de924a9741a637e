"""`python -m experiments.report`: Writes a run's report again (`jaxgen.commands.report`)."""

from jaxgen.commands.cli import main
from jaxgen.commands.report import command

if __name__ == "__main__":
    main(command)
