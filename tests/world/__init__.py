"""The stand-in world, the task image, the samples and the set-up."""
