"""Named sweeps, each of which answers one question: a folder a task, in it modules with QUESTION, SETTINGS, SEEDS, sweep(base).

The package carries them as `jaxgen.ablations`; `MODULES` of a folder says in which order they are listed.
"""
