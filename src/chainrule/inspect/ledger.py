"""`python -m chainrule.inspect.ledger RUNS`, the name that the ledger's command first had."""

from chainrule.reporting.ledger import main as main

if __name__ == "__main__":
    main()
