"""Names of models, and the files they stand for: on this machine and on the Hugging Face hub."""
