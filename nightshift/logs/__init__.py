"""The logs of functions: reading them from CloudWatch, and formatting a line."""
