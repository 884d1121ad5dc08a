"""The computational graph of any function or network: values forward, gradients backward, one file a concept.

`record` holds what was found, `tape` finds it, `gradients` differentiates, `rules` says the local rules in symbols,
`fold` makes boxes of modules and repeats, `layout` and `svg` draw, `text` and `page` tell, `diagnose` finds what is wrong,
`expression` and `source` read what the command is given. `graph` is the front door.
"""
