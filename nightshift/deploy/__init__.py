"""Deploying a stage: stacks, configuration, package, Chalice, and what Chalice leaves out."""
