"""Structured output: a schema, a class, a regex or a grammar becomes what may come next."""
