"""Images from a network: Deep Dream and style transfer change an image and leave the network as it is.

Deep Dream ascends the strength of chosen layers F in octaves, from a small image to the whole one:

    x <- x + step * g / mean|g|,    g = d/dx of the sum over layers of mean F(x)^2 / 2

Style transfer (Gatys, Ecker and Bethge) minimises, by L-BFGS on the image,

    alpha sum |F_l(x) - F_l(content)|^2 / 2 + beta sum_l w_l |G_l(x) - G_l(style)|^2 / (4 N_l^2)

where G = F F^T / M are the mean products of the N_l maps with each other over their M places.
"""

from chainrule.core.course import Family

FAMILY = Family("Deep Dream and style transfer", "Deep Dream 与风格迁移", order=70)
