"""What a bench is: its config, its protocol, and the experiments that follow from them."""
