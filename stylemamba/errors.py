"""The one exception for mistakes that a user can mend."""


class StyleMambaError(ValueError):
    """One sentence that names what was wrong with the input and what to do about it."""
