"""Generative models: images that are drawn, by a generator and a discriminator that learn against each other.

    the discriminator ascends    mean log D(x) + mean log(1 - D(G(z)))       k steps,
    the generator ascends        mean log D(G(z))                            1 step

with noise z. The second line is the non-saturating objective of the 2014 paper's section 3. Samples are scored by the
Frechet distance of their features to those of test images (by `score-net`, a classifier of digits that lies in the
package; its scores compare with each other only).
"""

from chainrule.core.course import Family

FAMILY = Family("Generative models", "生成模型", order=110, best="dcgan")
