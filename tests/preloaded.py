"""Imported by the process that others are forked from, once it has imported the libraries."""

from tests.sooner import read_now

read_now()
