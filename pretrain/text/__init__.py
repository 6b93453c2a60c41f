"""Training of the text encoder alone, so that each token knows the words of its tag before pictures teach it."""

from pretrain.text.job import TextJob, train

__all__ = ["TextJob", "train"]
