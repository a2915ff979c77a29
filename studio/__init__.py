"""The studio: a page on this machine on which dreams are begun, watched and changed while they grow, and its server."""
