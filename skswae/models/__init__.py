"""One paper, one file: the mathematics as pure functions, the module, the estimator."""
