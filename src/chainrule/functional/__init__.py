"""Tensor functions. Those of the modules below are imported from there; `convolve` and `correlate` from here, too."""

from chainrule.functional.convolution import convolve as convolve
from chainrule.functional.convolution import correlate as correlate
