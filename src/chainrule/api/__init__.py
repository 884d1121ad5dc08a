"""The verbs, as Python functions: what the command does, without the command."""

from chainrule.api.answers import evaluate, generate, measure, measured, predict, predict_each, tell_measured
from chainrule.api.inspection import explain, explain_text, export, is_computation, report
from chainrule.api.summary import count_parameters, summary, tell_unfinished
from chainrule.api.training import resume, train

__all__ = [
    "count_parameters",
    "evaluate",
    "explain",
    "explain_text",
    "export",
    "generate",
    "is_computation",
    "measure",
    "measured",
    "predict",
    "predict_each",
    "report",
    "resume",
    "summary",
    "tell_measured",
    "tell_unfinished",
    "train",
]
