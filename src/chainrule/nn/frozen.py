"""Parts of a network that are frozen, for some epochs or throughout."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from chainrule.core.course import Topic
from chainrule.core.errors import UserError


class Frozen:
    """The parts of a module under one of `prefixes`: their parameters do not change, nor do their running means.

    Args:
        module: the whole.
        prefixes: of the names of submodules or parameters, as `named_parameters` gives them.

    Raises:
        UserError: for a prefix that no parameter has, or where nothing is left to learn.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    >>> frozen = Frozen(net, ["0"])
    >>> frozen.hold(), [p.requires_grad for p in net.parameters()]
    (None, [False, False, True, True])
    >>> frozen.release(), [p.requires_grad for p in net.parameters()]
    (None, [True, True, True, True])
    """

    def __init__(self, module: nn.Module, prefixes: Sequence[str]) -> None:
        named = dict(module.named_parameters())

        def under(name: str, prefix: str) -> bool:
            return name == prefix or name.startswith(f"{prefix}.")

        for prefix in prefixes:
            if not any(under(name, prefix) for name in named):
                parts = dict.fromkeys(name.partition(".")[0] for name in named)
                raise UserError("no part of the network has this name", found=prefix, expected=", ".join(parts))
        chosen = {name: p for name, p in named.items() if any(under(name, prefix) for prefix in prefixes)}
        if len(chosen) == len(named) and named:
            raise UserError("all of the network is frozen: nothing is left to learn", found=", ".join(prefixes))
        self.parameters = [p for p in chosen.values() if p.requires_grad]
        self.modules = [m for name, m in module.named_modules() if any(under(name, prefix) for prefix in prefixes)]

    def hold(self) -> None:
        """Freezes them; to be called again after each `module.train()`, for dropout and running means."""
        for parameter in self.parameters:
            parameter.requires_grad_(False)
        for module in self.modules:
            module.eval()

    def release(self) -> None:
        """Lets these parts learn again."""
        for parameter in self.parameters:
            parameter.requires_grad_(True)
        for module in self.modules:
            module.train()


TOPICS = (
    Topic(
        "Fine-tuning with frozen layers",
        "微调：冻结部分层",
        code=("Frozen",),
        command="chainrule train image-classifier freeze=conv1,layer1 thaw=0.3",
    ),
)
