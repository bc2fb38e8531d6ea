"""What each endpoint answers to a request that may be answered: one file for each part of the API.

An endpoint is a function from `Asked` to `Answer`. It raises `Refused` where the documents say an error.
"""
