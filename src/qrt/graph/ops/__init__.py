"""The ops of graphs, one file a kind: what it reads, makes, remembers and costs."""
