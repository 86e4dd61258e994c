"""Torch modules of the models, and the mathematics that they share."""
