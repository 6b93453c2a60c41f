"""Headers of model files: pure JSON, no tensors, so that the store may read them as the adapters' room does.

`header` reads the header of a safetensors file and refuses hostile ones; `adapter` says what a LoRA file is by the
names and shapes in it.
"""
