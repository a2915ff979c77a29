"""Many pictures: the plan, the receipts of what is done, and the processes that dream them."""
