"""The ablations of names, in the order of the course's questions."""

from __future__ import annotations

from . import (
    activations,
    activity,
    adagrad,
    adam,
    augmentation,
    batch_size,
    batchnorm,
    context,
    depth_width,
    dropout,
    early_stopping,
    ensembles,
    families,
    gradients,
    initialization,
    l1,
    l2,
    label_smoothing,
    learning_rate,
    max_norm,
    momentum,
    noise,
    optimizers,
    overfitting,
    residual,
    rmsprop,
    search,
    transfer,
    weight_decay,
)

GROUPS = {  # by the headings of docs/guide.md
    "Optimizers": (optimizers, momentum, adagrad, rmsprop, adam, weight_decay, learning_rate, batch_size),
    "Vanishing gradients": (gradients, initialization, activations, residual),
    "BatchNorm": (batchnorm,),
    "Regularization": (l2, l1, dropout, early_stopping, max_norm, activity, noise, label_smoothing, augmentation),
    "Capacity": (overfitting, depth_width, context),
    "Families": (families,),
    "More than one network": (ensembles, transfer, search),
}
MODULES = tuple(module for group in GROUPS.values() for module in group)
