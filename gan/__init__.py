"""StyleGAN2-ADA (Karras 2020a, Karras 2020b), independent of segmentation."""
