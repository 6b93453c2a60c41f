"""Training of the autoencoder, or of its decoder alone."""

from pretrain.autoencoder.job import AutoencoderJob, train

__all__ = ["AutoencoderJob", "train"]
