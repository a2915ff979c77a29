"""What a page asks and is answered: the addresses, the catalogue, the live connection, and who may speak to it."""
