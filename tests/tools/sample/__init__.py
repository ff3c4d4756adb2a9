"""The generator of `dataset_builder/sample`, and the parts written for it."""
