"""Studies: claims of the course, each put to the test by measurement.

    approximation     what sums of sigmoids and layers of rectified units can represent; regions of the plane; what no
                      straight line can do
    generalization    bias and variance, votes and their bounds, the size of a class of hypotheses, random labels, dropout
    optimization      momentum in a ravine, saddles and plateaus, batch sizes, tanh against ReLU, batch normalisation,
                      vanishing gradients
    redundancy        what a trained network can lose: weights, units, residual blocks

A study names the points to compare, measures each of them once with random numbers of its own, and states what follows.
"""

from chainrule.core.course import Family

FAMILY = Family(
    "Claims of the course, measured", "课程中的论断，用测量检验", order=130, best="sigmoid-bumps", metric="sup_error"
)
