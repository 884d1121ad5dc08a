"""Classical models: kernels, neighbours, naive Bayes, clusters, components. No gradient descent anywhere.

    kernel SVM            max_a sum a_i - 1/2 sum a_i a_j t_i t_j k(x_i, x_j),  0 <= a_i <= C,  sum a_i t_i = 0
    naive Bayes           p(c | x) ~ p(c) prod_d p(x_d | c)
    linear discriminant   p(x | c) is a Gaussian; all classes share one covariance, shrunk to a multiple of the identity
    nearest neighbours    the class of most of the k nearest training rows
    k-means               min sum_i min_j |x_i - m_j|^2
    components            the directions of largest variance
    sparse coding         min over D, a of sum |x - D a|^2 / 2 + alpha |a|_1,  the atoms of D no longer than 1
    kernel density        p(x) = mean_i of bumps of width h around the training rows x_i

Of several settings (C and gamma, k, h, the number of clusters or components) the validation split chooses.
"""

from chainrule.core.course import Family

FAMILY = Family("Classical models", "经典模型", order=20, best="kernel-svm")
