"""The whole exchange in one process and in virtual time, with every fault that a seed can name."""
