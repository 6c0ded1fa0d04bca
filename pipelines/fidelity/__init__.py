"""How good a GAN's fundi are: what `segkit gan evaluate` and the stage `fidelity` share."""
