"""Training of StyleGAN2-ADA: the task, its losses, its data and what it leaves behind."""
