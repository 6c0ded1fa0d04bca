"""A StyleGAN2-ADA that could live alone (Karras 2020a, Karras 2020b)."""
