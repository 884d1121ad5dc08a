"""Mixtures: a density as a sum of Gaussians, by expectation and maximisation (EM).

    p(x) = sum_k pi_k N(x; mu_k, Sigma_k)
    expectation      r_ik = pi_k N(x_i; mu_k, Sigma_k) / p(x_i)
    maximisation     pi_k = mean_i r_ik,   mu_k = sum_i r_ik x_i / sum_i r_ik,   Sigma_k likewise

The likelihood never falls from one iteration to the next. Of several starts, and of several numbers of components, a
criterion (BIC, AIC, or the validation split) chooses.
"""

from chainrule.core.course import Family

FAMILY = Family("Mixtures", "混合模型", order=100, best="gaussian-mixture")
