"""Imported by the process that others are forked from, once it has imported the libraries.

None of ours is: some look at the environment while they are imported, which each process gets later.
"""

from tests.fast_aws import read_now

read_now()
