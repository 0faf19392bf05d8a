"""What is measured, kept or told of models and machines, for the commands and for programs."""
