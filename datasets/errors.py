"""What can be wrong with data. Apart from `base`, so that commands which only list data sets need no torch."""


class DataError(Exception):
    """Missing, damaged or unsuitable data. The message is one line: what is wrong and what to do."""
