"""Records of training and evaluation -> a model card -> a Hub repository."""
