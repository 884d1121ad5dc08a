"""Image synthesis: Deep Dream and style transfer optimise the pixels of an image and leave the network as it is.

Deep Dream ascends on the responses F of its target layers in octaves, from a small image to the full size:

    x <- x + step * g / mean|g|,    g = d/dx of the sum over layers of mean F(x)^2 / 2

Style transfer (Gatys, Ecker and Bethge) minimises, by L-BFGS on the image,

    alpha sum |F_l(x) - F_l(content)|^2 / 2 + beta sum_l w_l |G_l(x) - G_l(style)|^2 / (4 N_l^2)

where G = F F^T / M is the Gram matrix of a layer's N_l feature maps over their M positions.
"""

from chainrule.core.course import Family

FAMILY = Family("Deep Dream and style transfer", "Deep Dream 与风格迁移", order=70)
