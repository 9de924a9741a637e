"""Lanes: how they lie on devices, what they compute, how they are refilled."""
