"""Linear models: the answer is a weighted sum of the inputs, fitted in closed form, by a solver or by a rule.

With the inputs of a row x, weights W and a bias b,

    score = W x + b

is the answer of a regression, and the scores of the classes of a classifier. The models differ in what they minimise
over the training rows, in their scores s and targets t:

    least squares           sum (s - t)^2                         ridge adds alpha |W|^2, lasso alpha |W|_1
    logistic, softmax       sum -log softmax(s)_t
    support vectors         |W|^2 / 2 + C sum max(0, 1 - t s)^2    (or without the square)
    perceptron              no objective: w <- w + t x for a row answered wrongly

The validation split chooses the penalty (alpha, C) or, for the perceptron, when to stop.
"""

from chainrule.core.course import Family

FAMILY = Family("Linear models", "线性模型", order=10, best="softmax-regression")
