"""Reinforcement learning: an agent learns from rewards what to do; deep Q-learning.

    Q(s, a) = the expected sum of gamma^t r_{t+1} after doing a in state s and the best from then on
    target  = r                                  where the episode ended
              r + gamma max_a' Q'(s', a')        else; Q' is a copy of the network that follows it slowly
    loss    = (Q(s, a) - target)^2               over transitions drawn from a memory

With probability epsilon, which falls during training, an action is drawn at random. Episodes of their own choose the
best weights; others measure.
"""

from chainrule.core.course import Family

FAMILY = Family("Reinforcement learning", "强化学习", order=120, best="dqn")
