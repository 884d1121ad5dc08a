"""`chainrule.errors`: the name under which users know the errors of `chainrule.core.errors`."""

from chainrule.core.errors import ChainruleError as ChainruleError
from chainrule.core.errors import Interrupted as Interrupted
from chainrule.core.errors import RunFailed as RunFailed
from chainrule.core.errors import UserError as UserError
