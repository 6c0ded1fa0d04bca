"""LightningModules and the one place where a Trainer is built."""
