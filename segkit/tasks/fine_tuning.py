"""Fine-tuning: modules that keep their weights, and learning rates of modules."""

from collections.abc import Iterable, Mapping

from torch import nn

from segkit.core.errors import ConfigError
from segkit.core.names import hint
from segkit.models.normalization import NormalizedNetwork


def check_modules(modules: Iterable[str], tensors: Iterable[str]) -> None:
    """Raise ConfigError if a module is none of a network's.

    Modules are such as "encoder" or "encoder.0"; `tensors` are the names of the network's tensors.
    """
    known = {".".join(parts[:end]) for parts in (name.split(".") for name in tensors) for end in range(1, len(parts))}
    for module in modules:
        if module not in known:
            outer = ", ".join(sorted(name for name in known if "." not in name))
            nearest = hint(module, sorted(known), f"it has, for example, {outer}")
            raise ConfigError(f"frozen or learning_rate_factors: the network has no module {module!r}; {nearest}")


def freeze(network: nn.Module, modules: Iterable[str]) -> list[nn.Module]:
    """Take modules out of the training, and return them. In eval mode their batch norms keep their statistics.

    Raises:
        ConfigError: the network has no such module, or none of its weights is left to train.
    """
    inner = _inner(network)
    check_modules(modules, inner.state_dict())
    frozen = [inner.get_submodule(module) for module in modules]
    for module in frozen:
        module.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in inner.parameters()):
        raise ConfigError("frozen: no weights are left to train")
    return frozen


def parameter_groups(network: nn.Module, factors: Mapping[str, float], learning_rate: float) -> list[dict[str, object]]:
    """The trained parameters of a network as groups of torch's optimisers; the innermost module's factor counts.

    Raises:
        ConfigError: the network has no such module.
    """
    inner = _inner(network)
    check_modules(factors, inner.state_dict())
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in inner.named_parameters():
        if parameter.requires_grad:
            around = max((module for module in factors if name.startswith(f"{module}.")), key=len, default=None)
            groups.setdefault(1.0 if around is None else factors[around], []).append(parameter)
    return [{"params": parameters, "lr": learning_rate * factor} for factor, parameters in groups.items()]


def _inner(network: nn.Module) -> nn.Module:
    """The network without the normalisation in front of it, which has no parameters."""
    return network.network if isinstance(network, NormalizedNetwork) else network
