"""From a model file to tokens: loader, engine, KV bookkeeping, sampler and generation."""
