"""Measures of a GAN for some twenty photographs: distances, shares, and detection of copies.

They take features and pixels of any kind of image; the feature network is an argument.
"""
