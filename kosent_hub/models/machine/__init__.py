"""This machine: its device and cores, its processes, its libraries."""
