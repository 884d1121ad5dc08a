"""Perceptrons with hidden layers: on images, on rows of a table, on series, on points of the plane.

    h_0 = x,    h_l = f(W_l h_{l-1} + b_l),    output = W_{L+1} h_L + b_{L+1}

The output are scores of classes (cross entropy after the softmax), or numbers (squared error in deviations of the
target). A series is cut into windows: the last `lags` values are the inputs, the next one is the target. Learnt by
gradient descent; the validation split chooses the epoch.
"""

from chainrule.core.course import Family

FAMILY = Family("Perceptrons with hidden layers", "多层感知器", order=40, best="mlp")
