"""Named sweeps, each of which answers one question: a folder a task, in it modules with QUESTION, SETTINGS, SEEDS, sweep(base)
and MINUTES, which it took once on two CPU cores.

The package carries them as `jaxgen.ablations`; `GROUPS` of a folder says under which heads they are listed, and in
which order.
"""
