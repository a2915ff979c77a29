"""A dream of the studio: the job, what was chosen for it, its folder, and what can be fetched of it."""
