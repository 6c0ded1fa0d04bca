"""Images from a trained generator: by seed, along walks, and towards a target."""
