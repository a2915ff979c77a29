"""The processes that dream, one for each device, and what the server and they say to each other."""
