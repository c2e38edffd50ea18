"""What methods are made of: the base class, and the pieces that several of them share."""
