"""Adversarial examples: the smallest changes of an image that make a classifier wrong, and training against them.

Within |x' - x| <= epsilon at every pixel,

    one step       x' = x + epsilon sign(d loss / d x)
    several        x <- the nearest image within the bound of x + step sign(d loss / d x)
    targeted       the same, down the loss of a chosen wrong class
    universal      one change for all images

`attack` measures the accuracy that is left; `adversarial-training` learns from the worst change of each batch.
"""

from chainrule.core.course import Family

FAMILY = Family("Adversarial examples", "对抗样本", order=80)
