"""A small network that reads a picture's tags from its latents; the diffusion's training asks it what was drawn."""

from pretrain.reader.job import ReaderJob, load_reader, train
from pretrain.reader.labels import labels_of
from pretrain.reader.network import Reader, reading_loss

__all__ = ["Reader", "ReaderJob", "labels_of", "load_reader", "reading_loss", "train"]
