"""The verbs, as Python functions: what the command does, without the command."""

from chainrule.api.answers import evaluate, generate, measure, predict, predict_each
from chainrule.api.inspection import explain, explain_text, export, is_computation, report
from chainrule.api.summary import count_parameters, summary
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
    "predict",
    "predict_each",
    "report",
    "resume",
    "summary",
    "train",
]
