"""`chainrule.caffe`: the name under which users know `chainrule.interop.caffe`.

>>> from chainrule.caffe.net import parse_net
>>> parse_net.__module__
'chainrule.interop.caffe.net'
"""

import importlib
import sys

for _name in ("net", "solver", "translation", "weights"):
    _module = importlib.import_module(f"chainrule.interop.caffe.{_name}")
    globals()[_name] = sys.modules[f"{__name__}.{_name}"] = _module
