"""A folder for `PYTHONPATH`: `import foundations` finds what lies in it."""
