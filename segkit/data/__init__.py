"""Data sets, splits, phantoms, geometry, augmentation and the data module."""
