"""The errors by the name under which users catch them: `from chainrule.errors import UserError`."""

from chainrule.core.errors import ChainruleError, Interrupted, RunFailed, UserError

__all__ = ["ChainruleError", "Interrupted", "RunFailed", "UserError"]
