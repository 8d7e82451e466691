"""A part of a bench that says whose account it would measure in."""

import argparse

import boto3

from bench import command
from bench.report import Part


def measure(_: argparse.Namespace) -> Part:
    """Tell the key that a client of AWS finds."""
    credentials = boto3.Session().get_credentials()
    key = credentials.access_key if credentials else "none"
    return Part(about=f"It measures with the key {key}.", machine="a machine", tables=())


if __name__ == "__main__":
    command.run(measure, __doc__, {})
