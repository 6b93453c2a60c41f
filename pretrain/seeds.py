"""The seeds of the prompts and of the noise that bases and LoRAs are measured with.

Of many recipes the best one on some prompts owes a part of that to these prompts. So there are two: on `CHOOSING_SEED`
recipes are compared; on `PUBLISHED_SEED` is measured what is claimed, and nothing is chosen by it.
"""

CHOOSING_SEED, CHOOSING_NOISE = 0, 1000  # of prompts, and of the first picture's noise
PUBLISHED_SEED, PUBLISHED_NOISE = 1, 5000
