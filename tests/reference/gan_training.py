"""The training of StyleGAN2-ADA as the two papers tell it, in the plainest torch: a batch at once, Adam written out.

Networks, augmentation and random numbers are handed in; what is checked against this is what is done with them.
"""

import math

import torch


def softplus(x):
    return (1 + x.exp()).log()


def loss_of_generator(fake_logits):
    """-log sigmoid(D(G(z))) (Karras 2020a, non-saturating logistic loss)."""
    return softplus(-fake_logits).mean()


def loss_of_discriminator(real_logits, fake_logits):
    """-log sigmoid(D(x)) - log(1 - sigmoid(D(G(z))))."""
    return softplus(-real_logits).mean() + softplus(fake_logits).mean()


def r1_penalty(discriminate, images, gamma, create_graph=True):
    """gamma / 2 E|grad_x D(x)|^2 (Mescheder 2018, Eq. 9), by the images as they are handed in."""
    images = images.detach().requires_grad_()
    gradient = torch.autograd.grad(discriminate(images).sum(), images, create_graph=create_graph)[0]
    return gamma / 2 * sum((row**2).sum() for row in gradient) / len(images)


def lengths_of_paths(synthesise, ws, noise, create_graph=True):
    """|J_w^T y| of each image (Karras 2020a, Eq. 4), y being white noise over the root of the number of pixels.

    With a w for each layer the squared length is the mean of the layers'.
    """
    image = synthesise(ws)
    height, width = image.shape[2:]
    gradient = torch.autograd.grad((image * noise).sum() / math.sqrt(height * width), ws, create_graph=create_graph)[0]
    num_layers = ws.shape[1]
    return torch.stack([((row**2).sum() / num_layers).sqrt() for row in gradient])


class Adam:
    """Kingma 2015, Algorithm 1, with the correction for lazy regularisation (Karras 2020a, Appendix B)."""

    def __init__(self, parameters, learning_rate, interval):
        ratio = interval / (interval + 1)
        self.parameters, self.rate = list(parameters), learning_rate * ratio
        self.beta1, self.beta2 = 0.0, 0.99**ratio
        self.mean = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.square = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.count = [0] * len(self.parameters)

    def step(self, loss):
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        with torch.no_grad():
            for i, (parameter, gradient) in enumerate(zip(self.parameters, gradients, strict=True)):
                if gradient is None:  # the loss does not know of it
                    continue
                self.count[i] += 1
                self.mean[i] = self.beta1 * self.mean[i] + (1 - self.beta1) * gradient
                self.square[i] = self.beta2 * self.square[i] + (1 - self.beta2) * gradient**2
                mean = self.mean[i] / (1 - self.beta1 ** self.count[i])
                square = self.square[i] / (1 - self.beta2 ** self.count[i])
                parameter -= self.rate * mean / (square.sqrt() + 1e-8)


class Training:
    """`iterate` is one iteration; the state between iterations is in the attributes.

    Args:
        generator, discriminator: networks; `generator.mapping.map` and `.num_ws` are used.
        average: the generator's running average, a copy to begin with.
        augment: `augment(images, chance, numbers)`.
        synthesise: `synthesise(ws, draws)` draws the layers' noise from a phase's random numbers, after all others.
        draw: `draw(iteration, phase)` gives the random numbers of a phase.
    """

    def __init__(self, settings, generator, discriminator, average, augment, synthesise, draw):
        self.s, self.g, self.d, self.average = settings, generator, discriminator, average
        self.augment, self.synthesise, self.draw = augment, synthesise, draw
        self.adam_g = Adam(generator.parameters(), settings.learning_rate, settings.pl_interval)
        self.adam_d = Adam(discriminator.parameters(), settings.learning_rate, settings.r1_interval)
        self.w_avg = torch.zeros(settings.w_dim)
        self.length_mean, self.chance, self.signs = torch.tensor(0.0), settings.augment_p, []
        self.iteration = 0

    def iterate(self, real_levels):
        s, real = self.s, real_levels.double().div(127.5).sub(1).float()
        self.main_of_generator(self.draw(self.iteration, 0))
        if self.iteration % s.pl_interval == 0:
            self.path_lengths(self.draw(self.iteration, 1))
        self.main_of_discriminator(real, self.draw(self.iteration, 2))
        if self.iteration % s.r1_interval == 0:
            self.gradient_penalty(real, self.draw(self.iteration, 3))
        self.move_average()
        self.iteration += 1
        if self.iteration % s.ada_interval == 0:
            self.adjust_chance()

    def main_of_generator(self, draws):
        ws, w = self.styles(draws, self.s.batch_size)
        numbers = draws.augment(self.s.batch_size)
        fake = self.synthesise(ws, draws)
        self.adam_g.step(loss_of_generator(self.d(self.augment(fake, self.chance, numbers))))
        self.w_avg = 0.995 * self.w_avg + 0.005 * w.detach().mean(dim=0)

    def path_lengths(self, draws):
        s, count = self.s, self.s.batch_size // 2
        ws, _ = self.styles(draws, count)
        noise = draws.normal(count, s.image_channels, s.resolution, s.resolution)
        lengths = lengths_of_paths(lambda ws: self.synthesise(ws, draws), ws, noise)
        penalty = ((lengths - self.length_mean) ** 2).mean()
        self.adam_g.step(s.pl_interval * s.pl_weight * penalty)
        self.length_mean = 0.99 * self.length_mean + 0.01 * lengths.detach().mean()

    def main_of_discriminator(self, real, draws):
        ws, _ = self.styles(draws, self.s.batch_size)
        for_fake, for_real = draws.augment(self.s.batch_size), draws.augment(self.s.batch_size)
        fake_logits = self.d(self.augment(self.synthesise(ws, draws), self.chance, for_fake))
        real_logits = self.d(self.augment(real, self.chance, for_real))
        self.adam_d.step(loss_of_discriminator(real_logits, fake_logits))
        self.signs += real_logits.sign().flatten().tolist()

    def gradient_penalty(self, real, draws):
        numbers = draws.augment(self.s.batch_size)
        penalty = r1_penalty(lambda image: self.d(self.augment(image, self.chance, numbers)), real, self.s.r1_gamma)
        self.adam_d.step(self.s.r1_interval * penalty)

    def styles(self, draws, count):
        """Of one latent, or from some layer on of another (style mixing)."""
        z, other = draws.normal(count, self.s.z_dim), draws.normal(count, self.s.z_dim)
        cutoff = draws.mixing_cutoff(self.g.num_ws, self.s.style_mixing_prob)
        w, w_other = self.g.mapping.map(z), self.g.mapping.map(other)
        return torch.stack([w if layer < cutoff else w_other for layer in range(self.g.num_ws)], dim=1), w

    @torch.no_grad()
    def move_average(self):
        half_life = self.s.ema_kimg * 1000
        if self.s.ema_rampup is not None:
            half_life = min(half_life, self.iteration * self.s.batch_size * self.s.ema_rampup)
        keep = 0.5 ** (self.s.batch_size / half_life) if half_life else 0.0
        for average, parameter in zip(self.average.parameters(), self.g.parameters(), strict=True):
            average.copy_(keep * average + (1 - keep) * parameter)

    def adjust_chance(self):
        """Karras 2020b, section 3: r_t = E[sign D(x)] against its target."""
        step = self.s.ada_interval * self.s.batch_size / (1000 * self.s.ada_ramp_kimg)
        difference = sum(self.signs) / len(self.signs) - self.s.ada_target
        self.chance = min(max(self.chance + step * ((difference > 0) - (difference < 0)), 0.0), 1.0)
        self.signs = []
