"""Training of StyleGAN2-ADA: task, losses, data and snapshots."""
