"""The documents that are generated: the catalogue of recipes, the index of topics, a page a family, README's table.

    python -m chainrule.reporting.documents            writes them, in the repository
    python -m chainrule.reporting.documents --check    says which are not up to date, and ends with 1 if any is

They are made of records that stand beside the code (recipes, cards, `TOPICS`, `FAMILY`) and of the ledger's files.
"""
