"""Adversarial examples: small changes of an image that make a classifier wrong, and training against them.

Within the l-infinity ball, |x' - x| <= epsilon at every pixel,

    FGSM, one step     x' = x + epsilon sign(d loss / d x)
    BIM, PGD           x' <- the projection onto the ball of x' + step sign(d loss / d x'); PGD from a random start
    targeted           the same, down the loss of a chosen wrong class
    universal          one perturbation for all images

`attack` measures the robust accuracy; `adversarial-training` trains on PGD's adversarial examples of each batch.
"""

from chainrule.core.course import Family

FAMILY = Family("Adversarial examples", "对抗样本", order=80)
