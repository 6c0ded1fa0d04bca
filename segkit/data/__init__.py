"""Data sets, splits, phantoms, geometry, augmentation and the datamodule."""
