"""The routes: each module has a table `ROUTES` of paths and what answers them."""
