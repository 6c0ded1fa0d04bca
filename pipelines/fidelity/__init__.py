"""How good the images of a GAN are: shared by `segkit gan evaluate` and the stage `fidelity`."""
