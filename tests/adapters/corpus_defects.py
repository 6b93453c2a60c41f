"""To come."""


def kinds() -> list:
    return []
