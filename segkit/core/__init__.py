"""Settings, errors, images and manifests: what everything else stands on."""
