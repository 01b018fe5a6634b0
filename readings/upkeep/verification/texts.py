"""What the checks say about ranges of readings."""


def missing(begin: int, end: int) -> str:
    return f"reading {begin} is missing" if begin == end else f"the readings {begin} to {end} are missing"


def doubled(begin: int, end: int) -> str:
    return f"reading {begin} is stored twice" if begin == end else f"the readings {begin} to {end} are stored twice"
