"""The parts of a figure, each drawn by its own module."""
