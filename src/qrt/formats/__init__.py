"""Model files: the GGUF container and the block formats of its tensors."""
