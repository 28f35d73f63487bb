"""A directory for the search path of modules: in it, `t9k` is found."""
