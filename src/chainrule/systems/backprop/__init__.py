"""Back-propagation by hand: each layer's forward and backward pass written out, as one derives them on paper.

PyTorch gives tensors and their arithmetic here, and nothing that differentiates. What flows back is the *delta* of a
layer: the derivative of the loss with respect to the layer's output. A layer is given the delta of its output, adds the
gradients of its own parameters, and gives the delta of its input, which is the delta of the layer below:

    delta(l-1) = delta(l) * d output(l) / d input(l)        gradient(w) = delta(l) * d output(l) / d w
"""

from chainrule.core.course import Family

FAMILY = Family("Back-propagation by hand", "手写反向传播", order=30, best="mlp-backprop")
