"""Stands for a checkout of NVlabs/stylegan2-ada-pytorch where there is none: its interface, none of its code."""
