"""Text only: the A1111 prompt language (`language.parse`), and what stands in a picture's file about how it was made.

No tensors, no files; a tokenizer is a function that is handed in (`chunks`).
"""
