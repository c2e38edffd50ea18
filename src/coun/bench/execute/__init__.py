"""Computing the experiments of a plan into a store, with one process or many."""
