"""The pictures that come to the studio, read in a process of their own."""
