"""`chainrule.backprop`: the name under which users know the layers of `chainrule.systems.backprop`.

>>> from chainrule.backprop.linear import Linear
>>> Linear.__module__
'chainrule.systems.backprop.layers.linear'
"""

import importlib
import sys

_LAYERS = (
    "activations",
    "convolution",
    "criteria",
    "dropout",
    "embedding",
    "layer",
    "linear",
    "normalization",
    "pooling",
    "recurrent",
    "windows",
)

for _name, _home in {
    **dict.fromkeys(("chain", "check"), "backprop"),
    **dict.fromkeys(_LAYERS, "backprop.layers"),
}.items():
    _module = importlib.import_module(f"chainrule.systems.{_home}.{_name}")
    globals()[_name] = sys.modules[f"{__name__}.{_name}"] = _module
