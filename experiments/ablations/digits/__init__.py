"""The ablations of images, in the order of the course's questions."""

from __future__ import annotations

from . import data_size, image_augmentation, image_transfer, one_hidden_layer, padding_stride, pooling, vanilla_cnn

GROUPS = {  # by the headings of docs/guide.md
    "Images": (one_hidden_layer, vanilla_cnn, pooling, padding_stride, image_augmentation, data_size, image_transfer)
}
MODULES = tuple(module for group in GROUPS.values() for module in group)
