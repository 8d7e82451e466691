"""A part of a bench that ends well, and has no result."""

if __name__ == "__main__":
    print("done")
