"""What runs a graph: the interface that backends share, and a package for each of them."""
