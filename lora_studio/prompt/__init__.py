"""Text only: what stands in a picture's file about how it was made. No tensors, no files, no tokenizer."""
