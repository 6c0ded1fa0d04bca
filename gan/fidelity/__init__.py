"""Measures of a GAN that are fit for some twenty photographs: distances, shares, and a gate against copies.

They know features and pixels, not what the images show; the feature network is handed in.
"""
