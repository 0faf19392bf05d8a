"""A model as pure data: its ops, the builder that makes them, their lowering to tasks."""
