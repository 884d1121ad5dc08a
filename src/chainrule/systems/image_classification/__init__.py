"""Image classification: the published convolutional networks, from LeNet-5 to ResNet-152, and one's own images.

A convolution gives maps y from maps x, the same weights at every place:

    y[o, i, j] = b[o] + sum over c, m, n of W[o, c, m, n] x[c, i s + m - p, j s + n - p]

with stride s and padding p; the sum is the cross-correlation that every framework calls convolution. Pooling takes the
largest or the mean of a window. A residual block adds what it was given, y = x + F(x). The last maps become a score for
each class; the loss is the cross entropy of their softmax (LeNet-5 of 1998: distances to codes of the classes).
"""

from chainrule.core.course import Family

FAMILY = Family("Image classification", "图像分类", order=50, best="lenet5")
