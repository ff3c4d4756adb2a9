"""A small corpus in AI Hub's 2022 layout, composed from parts written for this project."""
