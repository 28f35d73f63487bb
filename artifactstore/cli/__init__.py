"""The command line: one module per group of commands; each parses, calls one library function, and shows what it got.

Nothing here is imported before it is needed: `main` knows the commands by name only.
"""
