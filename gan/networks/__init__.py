"""Generator, discriminator and the operations they are built of."""
