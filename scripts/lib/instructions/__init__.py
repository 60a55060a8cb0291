"""Questions and answers about the words of a dictionary and the functions of Python's standard library."""
