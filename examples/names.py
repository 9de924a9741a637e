"""Names: which of two optimizers, what the best network makes, and a folder to keep.

python examples/names.py           # half a minute
"""

import jaxgen

corpus = jaxgen.load_corpus("data/first_names.txt")  # comes with jaxgen; or your own file, a name a line
small = {"model.hidden": 32, "model.depth": 1, "train.steps": 400, "train.eval_every": 100, "train.names": 0}
config = jaxgen.override(jaxgen.Config(), small)
sweep = jaxgen.grid(config, {"optimizer.name": ["sgd", "adam"], "optimizer.learning_rate": [0.01, 0.1], "seed": range(3)})
question = jaxgen.Question("optimizers", "Which optimizer wins?", arms=("optimizer.name",))

if __name__ == "__main__":
    results = jaxgen.run(sweep, corpus, out="runs/example", question=question, resume=True)
    print(results.verdict())
    print(*jaxgen.sample(results.best(), count=10, temperature=0.8))
