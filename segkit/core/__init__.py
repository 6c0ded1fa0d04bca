"""Settings, errors, images and manifests, which all other packages use."""
