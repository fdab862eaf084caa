"""What a model file holds and which kernels run it, whoever made it."""
