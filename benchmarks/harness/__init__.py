"""What every benchmark needs: data, tools, the stopwatch, and the report."""


class Refused(Exception):
    """What was asked for can't be done here; the message says why, and what to do."""
