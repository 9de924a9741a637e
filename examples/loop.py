"""A training loop of your own: one trial is three pure functions, `init`, `update` and `evaluate`.

python examples/loop.py
"""

import functools

import flax.linen as nn
import jax
import numpy as np

import jaxgen


class Net(nn.Module):
    width: int = 32

    @nn.compact
    def __call__(self, x, train):
        return nn.Dense(1)(nn.tanh(nn.Dense(self.width)(x)))[:, 0]


source = np.random.default_rng(0)
x = source.normal(size=(1000, 4)).astype(np.float32)
y = np.sin(x).sum(1)
task = jaxgen.supervised(Net, (x, y), loss="squared_error", name="sines")
config = task.config(optimizer__name="adam", optimizer__learning_rate=0.01, train__steps=500)

if __name__ == "__main__":
    rows = task.parts(config.data)  # training, validation, test
    functions = task.opened(config.data).functions()
    numbers = jaxgen.lower(config, windows=len(rows.train[0]))  # the optimizer as numbers
    update = jax.jit(functools.partial(jaxgen.trial.update, functions, numbers))
    state = jaxgen.trial.init(functions, numbers, jax.random.key(0))
    for step in range(500):
        places = source.integers(0, len(rows.train[0]), 32)
        state, metrics = update(state, tuple(part[places] for part in rows.train))
        if step % 100 == 99:
            loss = jaxgen.trial.evaluate(functions, numbers, state, rows.validation)["loss"]
            print(f"step {step + 1}: validation {loss:.4f}")
