"""What is trained: the network and its named stages."""
