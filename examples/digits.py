import flax.linen as nn
from sklearn.datasets import load_digits

import jaxgen


class MLP(nn.Module):
    width: int = 512
    dropout: float = 0.5

    @nn.compact
    def __call__(self, x, train):
        x = nn.relu(nn.Dense(self.width)(x.reshape(len(x), -1)))
        return nn.Dense(10)(jaxgen.nn.Dropout(self.dropout)(x, train))


class CNN(MLP):
    @nn.compact
    def __call__(self, x, train):
        x = nn.relu(nn.Conv(16, (3, 3))(x[..., None]))
        return MLP(self.width, self.dropout)(nn.max_pool(nn.relu(nn.Conv(32, (3, 3))(x)), (2, 2), (2, 2)), train)


data = load_digits()
task = jaxgen.supervised({"mlp": MLP, "cnn": CNN}, (data.images / 16, data.target), metrics=["accuracy"], name="own_digits")
