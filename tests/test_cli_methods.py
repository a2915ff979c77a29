"""Being written by the helper who wrote test_classics.py (16:35): please leave it to him."""
